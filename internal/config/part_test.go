package config

import "testing"

func TestPart(t *testing.T) {
	const whole = 10 << 30
	for text, want := range map[string]Size{"50%": 5 << 30, "0%": 0, "100%": whole, "1GiB": 1 << 30, "0": 0, "33%": whole * 33 / 100} {
		p, err := parsePart(text)
		if err != nil || p.Of(whole) != want {
			t.Errorf("%s: %d, %v, want %d", text, p.Of(whole), err, want)
		}
		if again, err := parsePart(p.String()); err != nil || again != p {
			t.Errorf("%s is written as %s: %+v, %v", text, p, again, err)
		}
	}
	for _, text := range []string{"", "%", "101%", "-1%", "half", "1.5%", "-1GiB"} {
		if p, err := parsePart(text); err == nil {
			t.Errorf("%q: %+v", text, p)
		}
	}
}
