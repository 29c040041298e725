package registries

// rows are the profiles with the outcomes that differ from the usual ones.
var rows = []row{
	{profile: "hub"},
	{profile: "ghcr", want: outcomes{"referrers": noReferrers}},
	{profile: "quay"},
	{profile: "k8s", want: outcomes{
		"denied repository":  "200", // nothing is private there
		"missing repository": unknown,
		"limited tokens":     "200",
		"referrers":          noReferrers,
	}},
	{profile: "google", want: outcomes{"missing repository": unknown, "referrers": noReferrers}},
	{profile: "ecr-public", want: outcomes{"missing repository": unknown, "referrers": noReferrers}},
	{profile: "gitlab", want: outcomes{
		"denied repository":  "403 DENIED",
		"missing repository": "403 DENIED",
		"referrers":          noReferrers,
	}},
	{profile: "distribution", want: outcomes{"referrers": noReferrers}},
	{profile: "harbor", repo: "hub/app", stored: "hub/library/app", want: outcomes{"missing repository": unknown}},
}

const (
	unknown     = "404 MANIFEST_UNKNOWN"
	noReferrers = "404 UNSUPPORTED" // clients look for the referrers tag
)
