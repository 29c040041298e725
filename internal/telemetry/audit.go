package telemetry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"mirrord/internal/access"
	"mirrord/internal/oci"
)

// AuditStderr is the name of the audit log that goes to standard error.
const AuditStderr = "stderr"

const auditQueue = 4096 // lines that wait for a slow disk; further ones are lost

// Audit is the audit log: one line of JSON for each refusal and each change by an admin. A nil Audit writes nothing.
// Lines are written by Run, so that a disk that is slow or full holds up no request. Its
// methods may be called concurrently.
type Audit struct {
	file    string
	lines   chan []byte
	log     *zap.Logger
	metrics *Metrics

	mu     sync.Mutex // guards the rest; held while a line is written
	out    io.WriteCloser
	torn   bool // the last line was not written to its end
	failed bool // the last line could not be written
}

// OpenAudit returns the audit log that is appended to a file, or nil for no file. It
// fails when the file cannot be opened.
func OpenAudit(file string, log *zap.Logger, m *Metrics) (*Audit, error) {
	if file == "" {
		return nil, nil
	}
	out, err := openAppend(file)
	if err != nil {
		return nil, err
	}
	return &Audit{file: file, lines: make(chan []byte, auditQueue), log: log, metrics: m, out: out}, nil
}

func openAppend(file string) (io.WriteCloser, error) {
	if file == AuditStderr {
		return os.Stderr, nil
	}
	return os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
}

// Reopen opens the file again, which another program may have renamed. If it cannot, the
// file that is open is written on.
func (a *Audit) Reopen() {
	if a == nil || a.file == AuditStderr {
		return
	}
	out, err := openAppend(a.file)
	if err != nil {
		a.log.Error("audit log cannot be opened again; the file that is open is used", zap.Error(err))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.out.Close() // every line has been written, or has failed
	a.out, a.torn = out, false
}

// Run writes the lines until ctx ends, and then those that wait.
func (a *Audit) Run(ctx context.Context) error {
	if a == nil {
		return nil
	}
	for {
		select {
		case line := <-a.lines:
			a.write(line)
		case <-ctx.Done():
			for len(a.lines) > 0 {
				a.write(<-a.lines)
			}
			return nil
		}
	}
}

// write writes a line in one call, so that lines of several writers do not mix.
func (a *Audit) write(line []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.torn {
		line = append([]byte("\n"), line...)
	}
	n, err := a.out.Write(line)
	a.torn = err != nil && (n > 0 || a.torn)
	a.note(err)
}

// note counts a line that was lost, and logs the first of several.
func (a *Audit) note(err error) {
	if err != nil {
		a.metrics.auditLost.Inc()
		if !a.failed {
			a.log.Error("audit log cannot be written; mirrord_audit_lost_total counts the lines that are missing", zap.Error(err))
		}
	} else if a.failed {
		a.log.Info("audit log can be written again")
	}
	a.failed = err != nil
}

// auditLine is one line. Fields that do not apply are left out.
type auditLine struct {
	Time       time.Time `json:"time"`
	Event      string    `json:"event"` // refused, login_failed, admin
	Client     string    `json:"client,omitempty"`
	UID        *uint32   `json:"uid,omitempty"`
	User       string    `json:"user,omitempty"`
	Rule       string    `json:"rule,omitempty"`
	DryRun     bool      `json:"dry_run,omitempty"`
	Upstream   string    `json:"upstream,omitempty"`
	Repository string    `json:"repository,omitempty"`
	Reference  string    `json:"reference,omitempty"`
	Method     string    `json:"method,omitempty"`
	Action     string    `json:"action,omitempty"`
	Status     int       `json:"status,omitempty"`
	List       string    `json:"list,omitempty"`
	Images     []string  `json:"images,omitempty"`
	Total      int       `json:"images_total,omitempty"`
	Error      string    `json:"error,omitempty"`
	Reason     string    `json:"reason,omitempty"`
}

// add queues a line.
func (a *Audit) add(line auditLine, client oci.Client) {
	line.Time = time.Now().UTC()
	if client.Address.IsValid() {
		line.Client = client.Address.String()
	}
	if line.User == "" {
		line.User = client.Name()
	}
	raw, err := json.Marshal(line)
	if err != nil {
		panic(fmt.Sprintf("audit line: %v", err)) // it has nothing that JSON has not
	}
	select {
	case a.lines <- append(raw, '\n'):
	default:
		a.metrics.auditLost.Inc()
	}
}

// Refused writes that a request was refused.
func (a *Audit) Refused(r access.Refusal) {
	if a == nil {
		return
	}
	a.add(auditLine{
		Event: "refused", Rule: r.Rule, DryRun: r.DryRun,
		Upstream: r.Upstream, Repository: r.Repository, Reference: r.Reference, Reason: r.Err.Error(),
	}, r.Client)
}

// LoginFailed writes that a login has failed.
func (a *Audit) LoginFailed(f access.LoginFailure) {
	if a == nil {
		return
	}
	a.add(auditLine{Event: "login_failed", User: f.User, Method: string(f.Method), Reason: f.Err.Error()}, f.Client)
}
