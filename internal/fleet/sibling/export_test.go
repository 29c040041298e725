package sibling

import "time"

// Skew makes c believe that the clock of a sibling differs.
func (c *Client) Skew(addr string, d time.Duration) { c.setSkew(addr, d) }
