package admin

import (
	"encoding/json"
	"errors"
	"net/http"
)

// statusError is an error with the status that it is sent with.
type statusError struct {
	status int
	error
}

func (e statusError) Unwrap() error { return e.error }

// refuse returns err as a response with that status. Without it an error is a 500.
func refuse(status int, err error) error { return statusError{status, err} }

// badRequest returns err as a mistake of the client, which commands turn into exit status 2.
func badRequest(err error) error { return refuse(http.StatusBadRequest, err) }

// respond serves what handle returns as JSON, or its error as {"error": "…"}.
func respond(handle func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := handle(r)
		if err != nil {
			fail(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, value)
	}
}

// stream serves what handle writes as lines of JSON. An error before the first line has
// its own status; one after it is the last line.
func stream(handle func(*http.Request, *lineWriter) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		lines := &lineWriter{response: w}
		err := handle(r, lines)
		if err != nil {
			noteOf(r).err = err
		}
		switch {
		case err != nil && lines.begun:
			lines.write(failure{err.Error()})
		case err != nil:
			writeError(w, err)
		default:
			lines.begin() // of nothing
		}
	}
}

// failure is an error as JSON: a response, or the last line of one.
type failure struct {
	Error string `json:"error"`
}

// fail responds with err, and notes it.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	noteOf(r).err = err
	writeError(w, err)
}

func writeError(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var own statusError
	if errors.As(err, &own) {
		status = own.status
	}
	writeJSON(w, status, failure{err.Error()})
}

// writeJSON writes value, indented for those who ask with curl. A client that has left
// misses nothing.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value)
}

// lineWriter writes lines of JSON to a client, each at once. Errors are ignored: a client
// that has left ends the work by its context. It is used by one goroutine at a time.
type lineWriter struct {
	response http.ResponseWriter
	begun    bool
}

// begin sends the header, for work whose first line may take long: a client waits ten
// seconds for it.
func (l *lineWriter) begin() {
	if !l.begun {
		l.begun = true
		l.response.Header().Set("Content-Type", "application/x-ndjson")
		l.response.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(l.response).Flush()
}

// write sends a line.
func (l *lineWriter) write(line any) {
	if !l.begun {
		l.begin()
	}
	_ = json.NewEncoder(l.response).Encode(line)
	_ = http.NewResponseController(l.response).Flush()
}
