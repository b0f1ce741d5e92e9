// A client on amqplib, written from docs/protocol.md alone. It plays one whole story against a running
// service and prints what it saw as JSON; the test that started it judges.
//
//   node client.mjs AMQP_URL DIRECTORY
import { EventEmitter, once } from "node:events";
import { unlink, writeFile } from "node:fs/promises";
import { connect } from "amqplib";

const [url, directory] = process.argv.slice(2);
const namespace = "fsherald";
const connection = await connect(url);
const channel = await connection.createChannel();

// Requests: JSON-RPC 2.0, answered through the broker's direct reply-to.
const waiting = new Map();
await channel.consume(
  "amq.rabbitmq.reply-to",
  (message) => {
    waiting.get(message.properties.correlationId)?.(message);
    waiting.delete(message.properties.correlationId);
  },
  { noAck: true },
);

let number = 0;
function send(queue, body, options = {}) {
  const correlationId = String(++number);
  const reply = new Promise((resolve) => waiting.set(correlationId, resolve));
  channel.sendToQueue(`${namespace}.${queue}`, Buffer.from(JSON.stringify(body)), {
    replyTo: "amq.rabbitmq.reply-to",
    correlationId,
    contentType: "application/json",
    ...options,
  });
  return reply;
}

async function call(queue, method, params) {
  const reply = await send(queue, { jsonrpc: "2.0", id: number + 1, method, params });
  const { result, error } = JSON.parse(reply.content);
  if (error) throw Object.assign(new Error(error.message), error);
  return result;
}

// Events: a queue of our own, bound between createMonitor and startMonitor, so that nothing is missed.
const monitor = await call("control", "createMonitor", {
  mType: "Persistent",
  eTypes: ["All"],
  pMode: "Follow",
  pathString: directory,
  blockSize: 1,
});
const { queue } = await channel.assertQueue("", { exclusive: true });
await channel.bindQueue(queue, `${namespace}.monitor.${monitor}`, "#");
const blocks = [];
const arrivals = new EventEmitter();
await channel.consume(queue, (message) => {
  blocks.push({
    key: message.fields.routingKey,
    messageId: message.properties.messageId,
    headers: message.properties.headers,
    persistent: message.properties.deliveryMode === 2,
    body: JSON.parse(message.content),
  });
  channel.ack(message);
  arrivals.emit("block");
});
await call("control", "startMonitor", { id: monitor });
const started = await call("control", "getMonitorState", { id: monitor });

const file = `${directory}/from-node.bin`;
const content = Buffer.from(Array.from({ length: 1000 }, (_, at) => at % 256));
await writeFile(file, content);
while (blocks.length < 1) await once(arrivals, "block");

// Bytes as they are, the version in a header.
const read = { jsonrpc: "2.0", id: "read", method: "readBlock", params: { fileId: file, offset: 10, size: 500 } };
const bytes = await send("files", read, { headers: { accept: "application/octet-stream" } });
const { sha1 } = await call("files", "getSHA1", { fileId: file });

// Errors are data.
const errors = [];
for (const [target, method, params] of [
  ["control", "startMonitor", { id: "no-such" }],
  ["files", "getSize", { fileId: "/etc/passwd" }],
  ["files", "getSize", { fileId: `${directory}/gone` }],
  ["control", "createMonitor", { mType: "Sometimes" }],
  ["control", "noSuchMethod", {}],
]) {
  await call(target, method, params).catch((error) => errors.push([error.code, error.data.code]));
}

await unlink(file);
while (blocks.length < 2) await once(arrivals, "block");
await call("control", "destroyMonitor", { id: monitor });
await connection.close();

console.log(
  JSON.stringify({
    monitor,
    started,
    blocks,
    errors,
    sha1,
    read: {
      type: bytes.properties.contentType,
      version: typeof bytes.properties.headers.version,
      same: bytes.content.equals(content.subarray(10, 510)),
    },
  }),
);
