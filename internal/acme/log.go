package acme

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	mholt "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// failures are what has been logged of the library's failures, which it reports as an
// event, and then logs in up to three places.
type failures struct {
	mu   sync.Mutex // guards last
	last string     // the error of the last event
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = err.Error()
}

func (f *failures) has(text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last != "" && strings.Contains(text, f.last)
}

// rest passes on the errors of the library that are not in failures; all else that it
// logs is about its own working.
type rest struct {
	zapcore.Core
	logged *failures
}

// repeated are messages about what load has reported or an event reports next.
var repeated = []string{"could not get certificate from issuer", "initiating certificate management"}

func (c rest) Enabled(level zapcore.Level) bool {
	return level >= zapcore.ErrorLevel && c.Core.Enabled(level)
}

func (c rest) With(fields []zapcore.Field) zapcore.Core { return rest{c.Core.With(fields), c.logged} }

func (c rest) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	// What the client of the protocol logs is in the error of the event that follows.
	if !c.Enabled(e.Level) || slices.Contains(repeated, e.Message) || strings.HasSuffix(e.LoggerName, "acme_client") {
		return checked
	}
	return checked.AddCore(e, c)
}

func (c rest) Write(e zapcore.Entry, fields []zapcore.Field) error {
	for _, field := range fields {
		err, ok := field.Interface.(error)
		if ok && (c.logged.has(err.Error()) || strings.HasSuffix(err.Error(), context.Canceled.Error())) {
			return nil
		}
	}
	return c.Core.Write(e, fields)
}

func libraryLog(log *zap.Logger, logged *failures) *zap.Logger {
	return log.Named("certmagic").WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return rest{core, logged} }))
}

// report logs an event of the library. It never fails: that would cancel what the event
// announces.
func (c *Certificates) report(ctx context.Context, event string, data map[string]any) error {
	log := c.opts.Log.With(zap.Any("domain", data["identifier"]), zap.Any("renewal", data["renewal"]))
	switch event {
	case "cert_obtained":
		log.Info("certificate obtained")
	case "cert_failed":
		err, _ := data["error"].(error)
		if err == nil || ctx.Err() != nil {
			break
		}
		c.logged.add(err)
		log.Error("certificate cannot be obtained; it will be retried", zap.String("hint", c.hint(err)), zap.Error(err))
	}
	return nil
}

// reportStored logs that a stored certificate cannot be read.
func (c *Certificates) reportStored(domain string, err error) {
	c.opts.Log.Error("stored certificate cannot be used; remove its directory and send SIGHUP, and a new one is obtained",
		zap.String("domain", domain), zap.String("directory", filepath.Join(c.opts.Dir, "certificates")), zap.Error(err))
}

// hint says what to do about err.
func (c *Certificates) hint(err error) string {
	var problem mholt.Problem
	if errors.As(err, &problem) {
		switch strings.TrimPrefix(problem.Type, mholt.ProblemTypeNamespace) {
		case "connection", "tls", "unauthorized", "incorrectResponse":
			return fmt.Sprintf("the CA must reach %s under the domain's name at port 443: open or forward that port", c.opts.Address)
		case "dns":
			return "the CA cannot resolve the domain: add its A or AAAA record"
		case "rateLimited":
			return "the CA limits how often it is asked; wait"
		case "caa":
			return "a CAA record of the domain forbids this CA: change it, or acme.directory"
		}
		return "the CA refuses; its message says why"
	}
	var unreachable *url.Error
	if errors.As(err, &unreachable) || errors.As(err, new(*net.OpError)) {
		return "the CA cannot be reached: check acme.directory and the network, and acme.ca_file if the CA is a private one"
	}
	return "check the settings of acme, and that the cache directory is writable"
}
