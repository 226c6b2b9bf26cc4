//! The codec alone, without a socket: what of a request's cost is FastCGI itself.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, PlottingBackend, Throughput};
use fcgi_load::RequestSpec;
use fcgi_proto::{
    AppStatus, Connection, Event, Limits, ProtocolStatus, Request, Spares, Stdout, Values, pairs, record,
    response,
};

fn main() {
    let mut criterion = Criterion::default()
        .plotting_backend(PlottingBackend::Plotters)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let mut group = criterion.benchmark_group("protocol");

    let hello = encode(&RequestSpec::get("/hello"));
    group.throughput(Throughput::Elements(1));
    let mut server = Server::new();
    group.bench_function("a request of 20 parameters, answered", |bencher| {
        bencher.iter(|| server.receive(black_box(&hello)).len());
    });
    let mut server = Server::new();
    group.bench_function("the same, byte by byte", |bencher| {
        bencher.iter(|| hello.chunks(1).map(|byte| server.receive(black_box(byte)).len()).sum::<usize>());
    });

    let body = encode(&RequestSpec::post("/echo", vec![b'x'; 64 << 10]));
    group.throughput(Throughput::Bytes(64 << 10));
    let mut server = Server::new();
    group.bench_function("a body of 64 KiB", |bencher| {
        bencher.iter(|| server.receive(black_box(&body)).len());
    });
    group.finish();
    criterion.final_summary();
}

/// A responder without sockets: 13 bytes of content for any request.
struct Server {
    connection: Connection,
    spares: Spares,
    output: Vec<u8>,
}

impl Server {
    fn new() -> Self {
        let values = Values { connections: 1, requests: 1, multiplexes: true };
        Self {
            connection: Connection::new(Limits::default(), values),
            spares: Spares::new(),
            output: Vec::new(),
        }
    }

    /// The output that `input` calls for.
    fn receive(&mut self, mut input: &[u8]) -> &[u8] {
        self.output.clear();
        while let Some(request) = self.connection.receive_whole(&mut input) {
            answer(request, &mut self.output);
        }
        while let Ok(Some(event)) = self.connection.receive(&mut input, &mut self.output, &mut self.spares) {
            if let Event::Request(request) = event {
                answer(request.as_request(), &mut self.output);
                self.connection.recycle(request, &mut self.spares);
            }
        }
        &self.output
    }
}

fn answer(request: Request<'_>, output: &mut Vec<u8>) {
    black_box(request.params().value(b"SCRIPT_NAME"));
    let mut stdout = Stdout::new(output, request.id(), 64 << 10);
    stdout.write(b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n");
    drop(stdout);
    response::end(output, request.id(), AppStatus::SUCCESS, ProtocolStatus::RequestComplete);
}

/// What a front end sends for a request: the records of spec 5.1 to 5.3.
fn encode(request: &RequestSpec) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut params = Vec::new();
    for (name, value) in &request.params {
        pairs::push(&mut params, name, value);
    }
    record::push(&mut bytes, record::RecordType::BEGIN_REQUEST, 1, &[0, 1, record::KEEP_CONN, 0, 0, 0, 0, 0]);
    record::push(&mut bytes, record::RecordType::PARAMS, 1, &params);
    record::push(&mut bytes, record::RecordType::PARAMS, 1, &[]);
    for part in request.body.chunks(32 << 10) {
        record::push(&mut bytes, record::RecordType::STDIN, 1, part);
    }
    record::push(&mut bytes, record::RecordType::STDIN, 1, &[]);
    bytes
}
