// Package tools is empty: the module around it has the servers that tests run as its tools.
package tools
