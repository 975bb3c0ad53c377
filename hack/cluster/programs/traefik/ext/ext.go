// Package ext has the fields that other builds of Traefik add to its configuration: none.
package ext

// HTTP is embedded in the configuration of HTTP.
type HTTP struct{}

// Router is embedded in the configuration of a router.
type Router struct{}
