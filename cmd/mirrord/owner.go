package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// becomeOwner lets root go on as the owner of dir, for good: what root writes
// there its mirror could not use. It returns the name of dir for the process as
// it is now, which may be one that only root can reach from above.
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
