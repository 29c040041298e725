package main

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mirrord/internal/config"
	"mirrord/internal/doctor"
)

// While a mirror is being checked for somebody else, nothing is checked once more by the
// command, which would send each login again, and the command does not succeed.
func TestDoctorIsBusy(t *testing.T) {
	cfg := new(config.Config)
	cfg.Admin.Socket = filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", cfg.Admin.Socket)
	check(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /verify", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "/cache") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ready") })
	mux.HandleFunc("POST /v1/doctor", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error": "the mirror is being checked already"}`, http.StatusConflict)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		_ = server.Close()
		<-served
	}()
	var all []doctor.Check
	if _, ok := examineThere(t.Context(), cfg, func(c doctor.Check) { all = append(all, c) }); !ok {
		t.Error("the command would check everything itself")
	}
	if len(all) != 2 || all[1].State != doctor.Fail || !strings.Contains(all[1].Detail, "being checked already") {
		t.Errorf("%+v", all)
	}
}
