package upstream

// permission is what a token permits: one action on one repository.
type permission struct{ repository, action string }

const (
	pullAction = "pull"
	// metadataAction is what Azure requires for a list of tags.
	metadataAction = "metadata_read"
)

func pullFrom(repository string) permission { return permission{repository, pullAction} }

func (p permission) scope() string { return "repository:" + p.repository + ":" + p.action }

// requires reports whether a challenge names p as the permission that is required.
func (refused *refusal) requires(p permission) bool {
	for _, c := range refused.challenges {
		if c.scheme == bearer && c.params["scope"] == p.scope() {
			return true
		}
	}
	return false
}
