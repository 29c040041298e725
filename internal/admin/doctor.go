package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"mirrord/internal/doctor"
)

// DoctorLine is a line of the response to a request to check the mirror.
type DoctorLine struct {
	*doctor.Check
	Served *doctor.Served `json:"served,omitempty"` // of the last line
	Done   bool           `json:"done,omitempty"`
}

// doctor checks the mirror and its surroundings, by requests to the upstreams.
func (a *API) doctor(r *http.Request, lines *lineWriter) error {
	if !a.examining.TryLock() {
		return refuse(http.StatusConflict, errors.New("the mirror is being checked already; try again in a minute"))
	}
	defer a.examining.Unlock()
	lines.begin() // the first check may take long
	served := a.opts.Doctor(r.Context(), func(c doctor.Check) { lines.write(DoctorLine{Check: &c}) })
	lines.write(DoctorLine{Served: &served, Done: true})
	return nil
}

// Doctor has the mirror check itself and its surroundings, and calls report with each
// check. It returns what the mirror's clients have to know.
func (c *Client) Doctor(ctx context.Context, report func(doctor.Check)) (served doctor.Served, err error) {
	err = c.lines(ctx, http.MethodPost, "/v1/doctor", nil, nil, func(raw []byte) error {
		var line DoctorLine
		err := json.Unmarshal(raw, &line)
		if err == nil && line.Check != nil {
			report(*line.Check)
		}
		if line.Served != nil {
			served = *line.Served
		}
		return err
	})
	return served, err
}
