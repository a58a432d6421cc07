// Command pause is the first process of every pod of the lab: it holds the pod's namespaces open and does nothing else.
//
// Why not the usual image: no image registry is at hand on a test machine. It is written in Go, not in C, because the
// lab needs a Go compiler anyway and the result is static without a C library at hand.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	child := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	signal.Notify(child, syscall.SIGCHLD)
	for {
		select {
		case <-stop:
			return
		case <-child:
			// With a shared process namespace this is process 1, and orphans come to it to be reaped.
			for {
				pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
				if pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}
