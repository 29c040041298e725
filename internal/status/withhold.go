package status

// Withhold removes what says who pulls what: the names of images and clients,
// repositories, digests, and the texts of errors, which have those too.
func (s *Status) Withhold() {
	s.Withheld = true
	s.Images, s.Clients = []Use{}, nil
	fills := make([]Fill, len(s.Fills))
	for i, f := range s.Fills {
		f.Repository, f.Digest = "", ""
		fills[i] = f
	}
	errors := make([]Problem, len(s.Errors))
	for i, p := range s.Errors {
		if p.Image != "" {
			p.Image, p.Error = "", p.Summary
		}
		errors[i] = p
	}
	s.Fills, s.Errors, s.Fleet = fills, errors, s.Fleet.withhold()
}
