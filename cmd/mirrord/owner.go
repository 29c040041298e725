package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// becomeOwner makes a process of root continue as the owner of dir, for good: the
// mirror could not use what root writes there. It returns the name of dir for the
// process as it is now, because only root may be able to reach it from above.
func becomeOwner(dir string) (string, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || owner.Uid == 0 {
		return dir, nil
	}
	uid, gid := int(owner.Uid), int(owner.Gid)
	if err := errors.Join(os.Chdir(dir), syscall.Setgroups([]int{gid}), syscall.Setgid(gid), syscall.Setuid(uid)); err != nil {
		return "", fmt.Errorf("become the owner of %s, user %d: %w", dir, uid, err)
	}
	return ".", nil
}
