package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWebhooks(t *testing.T) {
	c, err := read([]byte(`notify:
  - {name: ops, url: 'https://events.example.com/x', on: [quota_low, tag_moved], tags: '*:latest', secret_file: /s, ca_file: /ca, headers_file: /h}
  - {url: 'http://10.0.0.7:8080', on: degraded, headers_file: /h}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Webhook{
		{Name: "ops", URL: "https://events.example.com/x", On: []string{"quota_low", "tag_moved"}, Tags: []string{"*:latest"}, SecretFile: "/s", CAFile: "/ca", HeadersFile: "/h"},
		{Name: "10.0.0.7", URL: "http://10.0.0.7:8080", On: []string{"degraded"}, HeadersFile: "/h"},
	}
	if diff := cmp.Diff(want, c.Notify); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	roundTrip(t, c)
	c, err = load(t, "", nil, "--notify=url=https://a,on=degraded,ca-file=/ca,headers-file=/h")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Webhook{{Name: "a", URL: "https://a", On: []string{"degraded"}, CAFile: "/ca", HeadersFile: "/h"}}, c.Notify); diff != "" {
		t.Errorf("of a flag (-want +got):\n%s", diff)
	}
}

func TestWebhookProblems(t *testing.T) {
	for _, test := range []struct{ webhook, want string }{
		{"{url: 'http://a', on: degraded, ca_file: /ca}", `mirrord.yaml:1:10: notify[0]: has a ca_file, which is for https alone; write the url with https, or leave ca_file out`},
		{"{url: 'https://a', on: degraded, headers_file: ~/h}", `mirrord.yaml:1:57: notify[0].headers_file: "~/h" starts with ~, which only a shell expands; write the full path`},
		{"{url: 'https://a', on: degraded, headers: x}", `mirrord.yaml:1:43: unknown key "notify[0].headers"; did you mean "notify[0].headers_file"?`},
		{"{url: 'https://a', on: degraded, tags: '*:latest'}", `mirrord.yaml:1:10: notify[0]: has tags, which are for tag_moved alone; add that to on, or leave tags out`},
		{"{url: 'https://a'}", `mirrord.yaml:1:10: notify[0]: has no events; write on: with some of quota_low, quota_gone, upstream_down, upstream_up, degraded, recovered, tag_moved`},
	} {
		_, err := read([]byte("notify: [" + test.webhook + "]\n"))
		wantProblems(t, err, test.want)
	}
}
