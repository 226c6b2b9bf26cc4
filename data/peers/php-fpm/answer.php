<?php
// php-fpm: a process for each connection.

$path = strtok($_SERVER['REQUEST_URI'] ?? '', '?');
if ($path === '/hello') {
    header('Content-Type: text/plain');
    header('Content-Length: 13');
    echo "Hello, world\n";
} elseif ($path === '/echo') {
    header('Content-Type: application/octet-stream');
    readfile('php://input');
} elseif ($path === '/wait') {
    // A second at most.
    $ms = min(max((int)($_GET['ms'] ?? 0), 0), 1000);
    usleep($ms * 1000);
    header('Content-Type: text/plain');
    echo "waited $ms ms\n";
} else {
    http_response_code(404);
    header('Content-Type: text/plain');
    echo "not found\n";
}
