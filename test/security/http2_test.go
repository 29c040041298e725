package security

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"mirrord/internal/hubsim"
)

// attacker is a client of HTTP/2 that sends any frames.
type attacker struct {
	t      *testing.T
	conn   *tls.Conn
	framer *http2.Framer
	header bytes.Buffer
	hpack  *hpack.Encoder
	stream uint32        // of the last request
	ended  chan struct{} // closed when the server has closed the connection

	mu     sync.Mutex // guards all below
	resets map[uint32]http2.ErrCode
	heads  map[uint32]string // the status of each response
}

// attack connects. The attacker reads what it is sent unless it is deaf.
func attack(s *served, deaf bool, settings ...http2.Setting) *attacker {
	s.t.Helper()
	a := &attacker{
		t: s.t, conn: s.dialTLS("h2"), ended: make(chan struct{}),
		resets: make(map[uint32]http2.ErrCode), heads: make(map[uint32]string),
	}
	check(s.t, a.conn.SetDeadline(time.Now().Add(time.Hour)))
	if tcp, ok := a.conn.NetConn().(*net.TCPConn); ok && deaf {
		check(s.t, tcp.SetReadBuffer(4<<10)) // which the responses that it does not read fill
	}
	a.framer = http2.NewFramer(a.conn, a.conn)
	a.framer.AllowIllegalWrites, a.framer.AllowIllegalReads = true, true
	a.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	a.hpack = hpack.NewEncoder(&a.header)
	if !deaf {
		go a.read()
	}
	_, err := io.WriteString(a.conn, http2.ClientPreface)
	check(s.t, err)
	check(s.t, a.framer.WriteSettings(settings...))
	s.t.Cleanup(func() { _ = a.conn.Close() })
	return a
}

func (a *attacker) read() {
	defer close(a.ended)
	for {
		frame, err := a.framer.ReadFrame()
		if _, ok := err.(http2.StreamError); ok {
			continue
		}
		if err != nil {
			return
		}
		a.mu.Lock()
		switch f := frame.(type) {
		case *http2.RSTStreamFrame:
			a.resets[f.StreamID] = f.ErrCode
		case *http2.MetaHeadersFrame:
			a.heads[f.StreamID] = f.PseudoValue("status")
		}
		a.mu.Unlock()
	}
}

// block encodes a header, with the pseudo-headers of a GET of path unless it is empty.
func (a *attacker) block(path string, fields ...string) []byte {
	a.header.Reset()
	if path != "" {
		fields = append([]string{":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", path}, fields...)
	}
	for i := 0; i < len(fields); i += 2 {
		check(a.t, a.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	return bytes.Clone(a.header.Bytes())
}

// request sends a header on the next stream.
func (a *attacker) request(block []byte) error {
	a.stream += 2
	if a.stream == 2 {
		a.stream = 1
	}
	return a.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: a.stream, BlockFragment: block, EndStream: true, EndHeaders: true})
}

// repeat sends until the server has closed the connection, and most times at most.
func (a *attacker) repeat(most int, send func(int) error) (sent int) {
	for ; sent < most; sent++ {
		if send(sent) != nil {
			return sent
		}
	}
	return sent
}

// wantSurvived fails when the floods of an attack have cost the server more than some
// memory, or another client its response. before is the number of goroutines.
func wantSurvived(s *served, before int) {
	s.t.Helper()
	s.wantServes()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if n := runtime.NumGoroutine() - before; n > 6000 {
		s.t.Errorf("%d more goroutines", n)
	}
	if memory.HeapInuse > 512<<20 {
		s.t.Errorf("%d MiB in use", memory.HeapInuse>>20)
	}
}

// The floods that HTTP/2 is known for end their connection or change nothing.
func TestFloods(t *testing.T) {
	blob := bytes.Repeat([]byte("flood "), 50_000)
	s := serve(t, nil, blob, present)
	s.wantServes()
	before := runtime.NumGoroutine()
	large := []byte(strings.Repeat("x", 16<<10))
	for name, flood := range map[string]struct {
		deaf bool // the attacker does not read
		ends bool // the server ends the connection
		most int  // frames
		send func(a *attacker, i int) error
	}{
		// The server ends these two if they outrun its handlers: not on every machine.
		"rapid reset": {false, false, 20_000, func(a *attacker, _ int) error {
			if err := a.request(a.block(s.path)); err != nil {
				return err
			}
			return a.framer.WriteRSTStream(a.stream, http2.ErrCodeCancel)
		}},
		"requests that are reset by the server": {false, false, 20_000, func(a *attacker, _ int) error {
			if err := a.request(a.block(s.path)); err != nil {
				return err
			}
			return a.framer.WriteWindowUpdate(a.stream, 0) // illegal
		}},
		"malformed requests": {true, false, 50_000, func(a *attacker, _ int) error { return a.request(a.block("", ":method", "GET")) }},
		"streams":            {true, false, 20_000, func(a *attacker, _ int) error { return a.request(a.block(s.path)) }},
		"continuation": {false, true, 20_000, func(a *attacker, i int) error {
			if i == 0 {
				return a.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(s.path), EndStream: true})
			}
			return a.framer.WriteContinuation(1, false, a.block("", "x", string(large[:8<<10])))
		}},
		"empty continuation": {false, false, 50_000, func(a *attacker, i int) error {
			if i == 0 {
				return a.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(s.path), EndStream: true})
			}
			return a.framer.WriteContinuation(1, false, nil)
		}},
		"settings": {true, false, 50_000, func(a *attacker, i int) error {
			return a.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i % 65536)})
		}},
		"pings": {true, false, 100_000, func(a *attacker, _ int) error { return a.framer.WritePing(false, [8]byte{}) }},
		"empty data": {false, false, 50_000, func(a *attacker, i int) error {
			if i == 0 {
				return a.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block(s.path), EndHeaders: true})
			}
			return a.framer.WriteData(1, false, nil)
		}},
		"priorities": {false, false, 50_000, func(a *attacker, i int) error {
			return a.framer.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3)})
		}},
		"unknown frames": {false, false, 2_000, func(a *attacker, _ int) error { return a.framer.WriteRawFrame(0xfa, 0xff, 0, large) }},
		"header table": {false, false, 1_000, func(a *attacker, i int) error {
			if i == 0 {
				return a.framer.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 1<<32 - 1})
			}
			return a.request(a.block("/v2/"))
		}},
		"header bombs": {false, false, 1_000, func(a *attacker, i int) error { // one field of 4000 bytes, named 10,000 times
			if i == 0 {
				return a.request(a.block("/v2/", "bomb", strings.Repeat("x", 4000)))
			}
			return a.request(append(a.block("/v2/"), bytes.Repeat([]byte{0x80 | 62}, 10_000)...))
		}},
		"table updates":   {false, true, 10, func(a *attacker, _ int) error { return a.request([]byte{0x3f, 0xff, 0xff, 0xff, 0xff, 0x0f}) }},
		"window overflow": {false, true, 2, func(a *attacker, _ int) error { return a.framer.WriteWindowUpdate(0, 1<<31-1) }},
		"large frames": {false, true, 100, func(a *attacker, _ int) error {
			return a.framer.WriteRawFrame(http2.FrameData, 0, 1, bytes.Repeat(large, 65))
		}},
		"pushes": {false, true, 100, func(a *attacker, _ int) error {
			return a.framer.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}},
		"even streams": {false, true, 100, func(a *attacker, i int) error {
			return a.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 2), BlockFragment: a.block(s.path), EndHeaders: true})
		}},
		"data nowhere":  {false, true, 100, func(a *attacker, _ int) error { return a.framer.WriteData(0, false, large) }},
		"data too soon": {false, true, 100, func(a *attacker, _ int) error { return a.framer.WriteData(9, false, large) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := attack(s, flood.deaf)
			check(t, a.conn.SetWriteDeadline(time.Now().Add(2*time.Second)))
			a.repeat(flood.most, func(i int) error { return flood.send(a, i) })
			s.wantServes()
			if flood.deaf {
				go a.read()
			}
			if flood.ends {
				select {
				case <-a.ended:
				case <-time.After(10 * time.Second):
					t.Error("the connection is still open")
				}
			}
			wantSurvived(s, before)
			_ = a.conn.Close()
		})
	}
}

// Streams whose window never opens are cut after two minutes, and the connection with
// them; no more of them are open than the server allows.
func TestClosedWindows(t *testing.T) {
	blob := bytes.Repeat([]byte("window "), 100_000)
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, new(hubsim.Network), blob, present)
		s.wantServes()
		a := attack(s, false, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		a.repeat(300, func(int) error { return a.request(a.block(s.path)) })
		<-time.After(time.Second)
		s.wantServes()
		<-time.After(3 * time.Minute)
		a.mu.Lock()
		cut, served := len(a.resets), len(a.heads)
		a.mu.Unlock()
		if served > 260 || cut < served {
			t.Errorf("%d streams were served and %d were cut", served, cut)
		}
		select {
		case <-a.ended:
		case <-time.After(2 * time.Minute):
			t.Error("the connection is still open")
		}
	})
}

// A header of HTTP/2 that would be another request in HTTP/1.1 is none here.
func TestHTTP2Headers(t *testing.T) {
	blob, _ := content("h2")
	s := serve(t, nil, blob, present)
	for name, fields := range map[string][]string{
		"CRLF in the path":     {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/smuggled/app/manifests/x"},
		"CRLF in the method":   {":method", "GET /v2/smuggled/app/manifests/x HTTP/1.1\r\nX: y\r\n\r\nGET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/"},
		"CRLF in a value":      {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", "x", "y\r\nz: smuggled"},
		"CRLF in a name":       {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", "x: y\r\nz", "smuggled"},
		"a NUL":                {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", "x", "\x00"},
		"an upper-case name":   {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", "X", "y"},
		"Transfer-Encoding":    {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", "transfer-encoding", "chunked"},
		"Connection":           {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", "connection", "close"},
		"Content-Length":       {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", "content-length", "5"},
		"two paths":            {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", ":path", "/v2/smuggled/app/manifests/x"},
		"no path":              {":method", "GET", ":scheme", "https", ":authority", "mirror.lan"},
		"an empty path":        {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", ""},
		"a path without slash": {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "http://ghcr.io/v2/"},
		"a late pseudo-header": {":method", "GET", ":scheme", "https", ":path", "/v2/", "x", "y", ":authority", "mirror.lan"},
		"a tunnel":             {":method", "CONNECT", ":authority", "169.254.169.254:80"},
		"an extended tunnel":   {":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/smuggled"},
		"an unknown pseudo":    {":method", "GET", ":scheme", "https", ":authority", "mirror.lan", ":path", "/v2/", ":smuggled", "x"},
	} {
		a := attack(s, false)
		check(t, a.request(a.block("", fields...)))
		check(t, a.framer.WritePing(false, [8]byte{1}))
		check(t, a.request(a.block("/v2/"))) // the last on the connection, if it still is one
		awaitEnd(a)
		a.mu.Lock()
		if status := a.heads[1]; status != "" && status[0] != '4' {
			t.Errorf("%s: status %s", name, status)
		}
		a.mu.Unlock()
		for _, uri := range s.arrived() {
			if strings.Contains(uri, "smuggled") && !strings.HasPrefix(uri, "CONNECT") {
				t.Errorf("%s: %q has arrived", name, uri)
			}
		}
	}
	s.wantServes()
}

// awaitEnd waits for the end of the connection, or of its last stream.
func awaitEnd(a *attacker) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 400 {
		select {
		case <-a.ended:
			return
		case <-tick.C:
		}
		a.mu.Lock()
		_, answered := a.heads[a.stream]
		a.mu.Unlock()
		if answered {
			return
		}
	}
	a.t.Error("no response to the last request")
}
