// Package netif is the virtio network device: section 5.1 of the Virtual I/O Device specification, version 1.2.
package netif
