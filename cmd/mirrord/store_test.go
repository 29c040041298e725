package main

import (
	"crypto/md5"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mirrord/test/objectstore"
)

// store up|down starts or ends the script's object store; store age KEY SECONDS makes
// an object as old as that, and one of that key if there is none; store lax sets $LAX to
// the setting of a store that ignores conditions.
func storeCommand(ts *testscript.TestScript, neg bool, args []string) {
	switch args[0] {
	case "up":
		ts.Check(storeOf(ts).Start())
	case "down":
		ts.Check(storeOf(ts).Stop())
	case "lax":
		lax := httptest.NewServer(&laxStore{objects: make(map[string][]byte)})
		ts.Defer(lax.Close)
		ts.Check(os.WriteFile(ts.MkAbs("laxkey"), []byte("secret"), 0o600))
		ts.Setenv("LAX", "endpoint="+lax.URL+",bucket=fleet,region=us-east-1,path_style=true,access_key=access,secret_key_file="+ts.MkAbs("laxkey"))
	case "age":
		ts.Check(makeOld(storeOf(ts).File(args[1]), args[2]))
	default:
		ts.Fatalf("unknown: store %s", args[0])
	}
}

// storeOf returns the object store of the script, and the setting for it as $S3.
func storeOf(ts *testscript.TestScript) *objectstore.Store {
	w := worldOf(ts)
	if w.store == nil {
		dir := ts.MkAbs("store")
		store, err := objectstore.New(dir)
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, "key"), []byte(objectstore.SecretKey), 0o600))
		ts.Setenv("S3", "endpoint="+store.URL()+",bucket="+objectstore.Bucket+",prefix=office,region="+objectstore.Region+
			",path_style=true,access_key="+objectstore.AccessKey+",secret_key_file="+filepath.Join(dir, "key"))
		ts.Defer(func() { _ = store.Stop() })
		w.store = store
	}
	return w.store
}

func makeOld(file, seconds string) error {
	n, err := strconv.Atoi(seconds)
	if err != nil {
		return err
	}
	if _, err := os.Stat(file); err != nil {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte("old"), 0o644); err != nil {
			return err
		}
	}
	written := time.Now().Add(-time.Duration(n) * time.Second)
	return os.Chtimes(file, written, written)
}

// laxStore is an object store that ignores the conditions of writes, and lists nothing.
type laxStore struct {
	mu      sync.Mutex // guards objects
	objects map[string][]byte
}

func (s *laxStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodPut:
		data, _ = io.ReadAll(r.Body)
		s.objects[r.URL.Path] = data
	case r.URL.Query().Has("list-type"):
		_, _ = io.WriteString(w, "<ListBucketResult></ListBucketResult>")
		return
	case r.Method == http.MethodDelete:
		delete(s.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
		return
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
		return
	}
	sum := md5.Sum(data)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
	if r.Method == http.MethodGet {
		_, _ = w.Write(data)
	}
}
