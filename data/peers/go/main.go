// Go's net/http/fcgi: a goroutine for each connection, and one for each request.
package main

import (
	"io"
	"log"
	"net/http"
	"net/http/fcgi"
)

func main() {
	http.HandleFunc("/hello", hello)
	http.HandleFunc("/echo", echo)
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
