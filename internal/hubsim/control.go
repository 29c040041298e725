package hubsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// faultJSON is a Fault in JSON, with a latency like "1.5s".
type faultJSON struct {
	Fault
	Latency string
}

func (f faultJSON) parse() (Fault, error) {
	if f.Latency == "" {
		return f.Fault, nil
	}
	latency, err := time.ParseDuration(f.Latency)
	f.Fault.Latency = latency
	return f.Fault, err
}

// serveControl is for use with curl: GET /_sim/counters, POST /_sim/faults with a
// Fault in JSON, DELETE /_sim/faults. Its requests need no token, have no faults and
// are not counted.
func (h *Hub) serveControl(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, h.opts.Profile.Prefix) {
	case "GET /_sim/counters":
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(h.Counters())
	case "POST /_sim/faults":
		h.postFault(w, r)
	case "DELETE /_sim/faults":
		h.faults.clear()
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "try GET /_sim/counters, POST or DELETE /_sim/faults", http.StatusNotFound)
	}
}

func (h *Hub) postFault(w http.ResponseWriter, r *http.Request) {
	var posted faultJSON
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&posted); err != nil {
		http.Error(w, fmt.Sprintf("read fault: %v", err), http.StatusBadRequest)
		return
	}
	fault, err := posted.parse()
	if err != nil {
		http.Error(w, fmt.Sprintf("read latency: %v", err), http.StatusBadRequest)
		return
	}
	if fault.Op != "" && !slices.Contains(operations, fault.Op) {
		http.Error(w, fmt.Sprintf("unknown op %q; one of %s", fault.Op, strings.Join(operations, ", ")), http.StatusBadRequest)
		return
	}
	h.Inject(fault)
	w.WriteHeader(http.StatusNoContent)
}
