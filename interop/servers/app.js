// The application of app.py for Node:
// node app.js PORT PORT6 SOCKET TIMEOUT_MS LIMIT [TLS_PORT CERTIFICATE]
const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const https = require("https");
const zlib = require("zlib");

const [port, port6, path, timeout, limit, tlsPort, certificate] =
    process.argv.slice(2);
const TEXT = [...Array(500).keys()].map(
    (n) => `line ${n} of a text that can be compressed\n`).join("");
const executed = (name) =>
    fs.appendFileSync(process.env.INTEROP_LOG, name + "\n");

const CHALLENGES = {
    "/basic": 'Basic realm="here"',
    "/digest": 'Digest realm="here", nonce="one", qop="auth"'};
const md5 = (...words) =>
    crypto.createHash("md5").update(words.join(":")).digest("hex");

function knows(method, told) {
  if (!told.startsWith("Digest ")) return told === "Basic dXNlcjpzZWNyZXQ=";
  const it = Object.fromEntries([...told.matchAll(/(\w+)="?([^",]*)/g)]
      .map((found) => found.slice(1)));
  return it.response === md5(md5("user", "here", "secret"), it.nonce, it.nc,
      it.cnonce, "auth", md5(method, it.uri));
}

function answer(request, response, body) {
  const target = request.url.split("?")[0];
  const send = (status, fields, text) => {
    response.writeHead(status, text === null ? fields :
        {"Content-Length": Buffer.byteLength(text), ...fields});
    response.end(text);
  };
  if (target in CHALLENGES &&
      !knows(request.method, request.headers.authorization || ""))
    return send(401, {"WWW-Authenticate": CHALLENGES[target]}, "who?");
  if (request.method === "POST" && target === "/RPC2") {
    const name = /<string>([^<]*)<\/string>/.exec(body)[1];
    executed(name);
    if (name.startsWith("cut")) return request.socket.destroy();
    return send(200, {"Content-Type": "text/xml"},
        "<?xml version='1.0'?>\n<methodResponse><params><param><value>" +
        `<string>done ${name}</string></value></param></params>` +
        "</methodResponse>");
  }
  if (request.method === "POST") {
    const name = body.toString("latin1").split(" ")[0];
    executed(name);
    if (name.startsWith("cut")) return request.socket.destroy();
    if (target === "/see-other")
      return send(303, {"Location": "/text"}, "moved");
    return send(200, {}, `done ${name} ${body.length}`);
  }
  if (target.startsWith("/echo"))
    return send(200, {}, Buffer.concat([Buffer.from(request.url + " "), body]));
  if (target === "/chunked") {
    response.writeHead(200, {});
    for (let n = 0; n < 5; n++) response.write(`piece ${n}, `.repeat(50));
    return response.end();
  }
  if (target === "/gzip" &&
      /gzip/.test(request.headers["accept-encoding"] || ""))
    return send(200, {"Content-Encoding": "gzip"}, zlib.gzipSync(TEXT));
  if (target === "/204") return send(204, {}, null);
  if (target === "/304" && request.headers["if-none-match"] === '"one"')
    return send(304, {"ETag": '"one"'}, null);
  if (target === "/redirect")
    return send(302, {"Location": "/text"}, "moved");
  send(200, {"ETag": '"one"'}, TEXT);
}

function serve(request, response) {
  if (request.headers["content-length"] > 1000000) {
    response.writeHead(413, {"Content-Length": 5, "Connection": "close"});
    return response.end("large");
  }
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => answer(request, response, Buffer.concat(pieces)));
}

function start(server, ...where) {
  server.keepAliveTimeout = Number(timeout);
  if (Number(limit)) server.maxRequestsPerSocket = Number(limit);
  server.on("checkContinue", (request, response) => {
    if (request.headers["content-length"] <= 1000000) response.writeContinue();
    serve(request, response);
  });
  server.listen(...where);
}

start(http.createServer(serve), port, "127.0.0.1", 512);
start(http.createServer(serve), port6, "::1");
start(http.createServer(serve), path);
if (tlsPort) {
  const pem = fs.readFileSync(certificate);
  start(https.createServer({key: pem, cert: pem}, serve),
        tlsPort, "127.0.0.1", 512);
}
