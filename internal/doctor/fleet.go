package doctor

import "mirrord/internal/fleet/fleetprobe"

// Fleet is what a running mirror has found out of the object store of its fleet by writing
// to it. leases is whether it is to agree with others on who fetches what.
func Fleet(s fleetprobe.State, leases bool) (all []Check) {
	const what = "fleet store"
	add := func(state State, detail, hint string) { all = append(all, Check{what, state, detail, hint}) }
	switch {
	case s.Failure != nil:
		add(Fail, "what it can do is not known: "+s.Failure.Error(), "the key must be allowed to read, write and delete objects; the mirror tries it again within five minutes")
	case !s.Done:
		add(Info, "it is being probed", "ask again in ten seconds")
	}
	if s.Secret != nil {
		all = append(all, Check{"fleet secret", Fail, s.Secret.Error(), "give all mirrors of the fleet the same fleet.secret_file; until then only blobs and manifests are shared"})
	}
	if s.Basics && !s.Conditions && leases {
		add(Warn, s.Lack.Error(), "two mirrors that miss the same blob at once both fetch it; use another store, or say so with fleet.leases: off")
	}
	if s.Done && !s.Ages {
		add(Warn, "the ages of its objects are wrong", "set the clocks of the store's machines by NTP; until then nothing is touched, and mirrord fleet gc removes nothing")
	}
	if s.Done && !s.Touch {
		add(Warn, "the age of an object cannot be set to zero", "what is used is removed at its age, too, and fetched once more; the key must be allowed to copy objects, or use another store")
	}
	if len(all) == 0 {
		add(OK, "objects can be written, and it does what a fleet needs", "")
	}
	return all
}
