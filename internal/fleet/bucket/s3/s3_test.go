package s3_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mirrord/internal/fleet/bucket"
	"mirrord/internal/fleet/bucket/buckettest"
	"mirrord/internal/fleet/bucket/s3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// partSize is the smallest that S3 allows for all but the last part.
const partSize = 5 << 20

// TestVersitygw runs the contract suite over a real server.
func TestVersitygw(t *testing.T) {
	endpoint := startVersitygw(t)
	var buckets atomic.Int64
	buckettest.Run(t, buckettest.Options{
		PartSize: partSize,
		New: func(t *testing.T) bucket.Bucket {
			prefix := string(rune('a'+buckets.Add(1))) + "/v1/"
			return open(t, s3.Options{Endpoint: endpoint, Bucket: "fleet", Prefix: prefix})
		},
	})
}

// TestServer runs the contract suite over the server that MIRRORD_TEST_S3 names, such as
// http://KEY:SECRET@127.0.0.1:9000/BUCKET, and is skipped without one.
func TestServer(t *testing.T) {
	server, err := url.Parse(os.Getenv("MIRRORD_TEST_S3"))
	if err != nil {
		t.Fatal(err)
	}
	if server.Host == "" {
		t.Skip("MIRRORD_TEST_S3 names no server")
	}
	secret, _ := server.User.Password()
	buckettest.Run(t, buckettest.Options{
		PartSize: partSize,
		New: func(t *testing.T) bucket.Bucket {
			b, err := s3.New(s3.Options{
				Endpoint: &url.URL{Scheme: server.Scheme, Host: server.Host}, Bucket: path.Base(server.Path),
				Prefix: rand.Text() + "/v1/", Region: "us-east-1", PathStyle: true, PartSize: partSize,
				AccessKey: server.User.Username(), SecretKey: secret, Transport: transport(t),
			})
			if err != nil {
				t.Fatal(err)
			}
			return b
		},
	})
}

// transport returns a transport for the time of a test.
func transport(t *testing.T) http.RoundTripper {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// open returns the Bucket of o with the credentials of the server.
func open(t *testing.T, o s3.Options) *s3.Bucket {
	t.Helper()
	o.Region, o.PathStyle, o.PartSize, o.Transport = "us-east-1", true, partSize, transport(t)
	o.AccessKey, o.SecretKey = "access", "secret"
	b, err := s3.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// startVersitygw starts versitygw over an empty directory, with the bucket fleet, until
// the test ends.
func startVersitygw(t *testing.T) *url.URL {
	t.Helper()
	program := filepath.Join(t.TempDir(), "versitygw")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = "../../../../test/tools"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build versitygw: %v\n%s", err, out)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "fleet"), 0o755); err != nil { // buckets are directories
		t.Fatal(err)
	}
	address := freeAddress(t)
	var log strings.Builder
	server := exec.Command(program, "--port", address, "--quiet", "posix", dir)
	server.Env = append(os.Environ(), "ROOT_ACCESS_KEY=access", "ROOT_SECRET_KEY=secret")
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
		if t.Failed() {
			t.Logf("versitygw:\n%s", log.String())
		}
	})
	awaitListener(t, address)
	return &url.URL{Scheme: "http", Host: address}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func awaitListener(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("nothing listens on %s", address)
}

// TestErrors finds that each refusal of a store is told apart, and that nothing is sent
// twice.
func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		code   string
		put    error // nil: none of those of a Bucket
		get    error
	}{
		"no such key":        {404, "NoSuchKey", bucket.ErrPrecondition, bucket.ErrAbsent},
		"no such key, HTML":  {404, "", bucket.ErrPrecondition, bucket.ErrAbsent},
		"unknown key":        {404, "XAdminUserNotFound", bucket.ErrDenied, bucket.ErrDenied},
		"something else":     {404, "NoSuchUser", nil, nil},
		"no such bucket":     {404, "NoSuchBucket", nil, nil},
		"precondition":       {412, "PreconditionFailed", bucket.ErrPrecondition, bucket.ErrPrecondition},
		"conflict":           {409, "ConditionalRequestConflict", bucket.ErrConflict, bucket.ErrConflict},
		"slow down":          {503, "SlowDown", bucket.ErrSlow, bucket.ErrSlow},
		"slow down, 429":     {429, "", bucket.ErrSlow, bucket.ErrSlow},
		"denied":             {403, "AccessDenied", bucket.ErrDenied, bucket.ErrDenied},
		"clock":              {403, "RequestTimeTooSkewed", bucket.ErrDenied, bucket.ErrDenied},
		"full":               {507, "XMinioStorageFull", bucket.ErrFull, bucket.ErrFull},
		"quota":              {403, "QuotaExceeded", bucket.ErrFull, bucket.ErrFull},
		"conditions unknown": {501, "NotImplemented", bucket.ErrUnsupported, bucket.ErrUnsupported},
		"internal":           {500, "InternalError", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.WriteHeader(test.status)
				if test.code != "" {
					_, _ = w.Write([]byte("<Error><Code>" + test.code + "</Code><Message>no</Message></Error>"))
				}
			}))
			defer server.Close()
			endpoint, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			b := open(t, s3.Options{Endpoint: endpoint, Bucket: "fleet"})
			_, err = b.Put(t.Context(), "key", []byte("data"), bucket.IfAbsent())
			wantKind(t, "put", err, test.put)
			_, err = b.Get(t.Context(), "key", 0, "")
			wantKind(t, "get", err, test.get)
			if n := requests.Load(); n != 2 {
				t.Errorf("%d requests for 2 calls", n)
			}
		})
	}
}

// wantKind wants an error of a kind, or of none for nil.
func wantKind(t *testing.T, what string, err, want error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, kind := range []error{
		bucket.ErrAbsent, bucket.ErrPrecondition, bucket.ErrConflict, bucket.ErrSlow, bucket.ErrDenied, bucket.ErrFull, bucket.ErrUnsupported,
	} {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("%s: %v: is it %q: %v", what, err, kind, kind != want)
		}
	}
}

// TestPlainBodies finds that a store is sent the bytes of objects as they are, with their
// hash, over plain HTTP too: not every store understands S3's own encoding in chunks.
func TestPlainBodies(t *testing.T) {
	var parts atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Has("uploads"):
			_, _ = w.Write([]byte("<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"))
			return
		case r.Method == http.MethodPost:
			_, _ = w.Write([]byte("<CompleteMultipartUploadResult><Bucket>fleet</Bucket><ETag>0123</ETag></CompleteMultipartUploadResult>"))
			return
		}
		parts.Add(1)
		hash := sha256.New()
		size, err := io.Copy(hash, r.Body)
		told := r.Header.Get("X-Amz-Content-Sha256")
		if err != nil || size != r.ContentLength || told != hex.EncodeToString(hash.Sum(nil)) || r.Header.Get("Content-Encoding") != "" {
			t.Errorf("%d bytes of %d with the hash %s, encoded by %q: %v", size, r.ContentLength, told, r.Header.Get("Content-Encoding"), err)
		}
		w.Header().Set("ETag", `"0123"`)
	}))
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t, s3.Options{Endpoint: endpoint, Bucket: "fleet"})
	for _, size := range []int{0, 10, partSize + 10} {
		if err := b.Upload(t.Context(), "key", bytes.NewReader(make([]byte, size)), int64(size), bucket.IfAbsent()); err != nil {
			t.Errorf("upload %d bytes: %v", size, err)
		}
	}
	if n := parts.Load(); n != 4 {
		t.Errorf("%d bodies for 3 objects, one of them in 2 parts", n)
	}
}

// TestRanges finds that a store which ignores a range is not believed.
func TestRanges(t *testing.T) {
	for name, header := range map[string]string{
		"none":           "",
		"of another":     "bytes 0-9/10",
		"of unknown end": "bytes 5-9/*",
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if header != "" {
					w.Header().Set("Content-Range", header)
				}
				w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
				w.Header().Set("ETag", `"0123"`)
				_, _ = w.Write([]byte("0123456789"))
			}))
			defer server.Close()
			endpoint, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			o, err := open(t, s3.Options{Endpoint: endpoint, Bucket: "fleet"}).Get(t.Context(), "key", 5, "")
			if err == nil {
				t.Errorf("got %+v, want an error", o.Info)
				_ = o.Body.Close()
			}
		})
	}
}

// TestLongErrors finds that what a store says is in an error only in part, and printable.
func TestLongErrors(t *testing.T) {
	long := strings.Repeat("x\u009b", 500_000/3)
	for _, status := range []int{http.StatusInternalServerError, http.StatusForbidden} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<Error><Code>" + long + "</Code><Message>" + long + "</Message></Error>"))
		}))
		defer server.Close()
		endpoint, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, err = open(t, s3.Options{Endpoint: endpoint, Bucket: "fleet"}).Get(t.Context(), "key", 0, "")
		if err == nil || len(err.Error()) > 1000 || strings.ContainsRune(err.Error(), '\u009b') {
			t.Errorf("%d: %.2000v", status, err)
		}
	}
}

// TestBareErrors finds that an error without a message, such as Ceph sends, ends with its code.
func TestBareErrors(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte("<Error><Code>NoSuchBucket</Code></Error>"))
	}))
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, s3.Options{Endpoint: endpoint, Bucket: "fleet"}).Get(t.Context(), "key", 0, "")
	if want := "get key: the object store says NoSuchBucket"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestEndlessAnswers finds that a list that never ends does not fill the memory.
func TestEndlessAnswers(t *testing.T) {
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write([]byte("<ListBucketResult><Contents><Key>"))
		for chunk := bytes.Repeat([]byte("x"), 1<<16); err == nil && sent.Load() < 256<<20; {
			_, err = w.Write(chunk)
			sent.Add(int64(len(chunk)))
		}
	}))
	defer server.Close()
	endpoint, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	for info, err := range open(t, s3.Options{Endpoint: endpoint, Bucket: "fleet"}).List(t.Context(), "") {
		if err == nil {
			t.Errorf("it lists %.100s", info.Key)
		}
	}
	if n := sent.Load(); n >= 256<<20 {
		t.Errorf("%d bytes of a list were read", n)
	}
}
