// Go's net/http/fcgi: a goroutine for each connection, and one for each request.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/fcgi"
	"strconv"
	"time"
)

func main() {
	http.HandleFunc("/hello", hello)
	http.HandleFunc("/echo", echo)
	http.HandleFunc("/wait", wait)
	// Without a listener it serves the socket on fd 0.
	log.Fatal(fcgi.Serve(nil, nil))
}

func hello(response http.ResponseWriter, _ *http.Request) {
	response.Header().Set("Content-Type", "text/plain")
	response.Header().Set("Content-Length", "13")
	io.WriteString(response, "Hello, world\n")
}

func echo(response http.ResponseWriter, request *http.Request) {
	response.Header().Set("Content-Type", "application/octet-stream")
	io.Copy(response, request.Body)
}

// The goroutine waits, a second at most.
func wait(response http.ResponseWriter, request *http.Request) {
	ms, _ := strconv.ParseUint(request.URL.Query().Get("ms"), 10, 32)
	if ms > 1000 {
		ms = 1000
	}
	time.Sleep(time.Duration(ms) * time.Millisecond)
	response.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(response, "waited %d ms\n", ms)
}
