/**
 * Bodies that are larger than any memory flow through the real server while the guest runs: what it
 * holds does not depend on their length, and a side that stands still holds the other one back.
 *
 * `ATOLL_TEST_BODY_MIB=1024` makes them that long. The portable engine passes every chunk between
 * threads, so it gets three eighths.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import process from "node:process";
import { buildNative } from "../../native/build/build.ts";
import { fixtureFolder } from "../fixtures/build.ts";
import { test } from "../harness.ts";
import { exchangeLarge, type LargeExchange, sendBody, sumOfBody } from "./large_bodies.ts";
import { type ServerProcess, withServer } from "./support.ts";

const MIB = 1024 * 1024;
const SMALL = 16 * MIB;
const LARGE = Number(process.env["ATOLL_TEST_BODY_MIB"] ?? 512) * MIB;

/** What is ended at a second or at half a minute else, as an operator who serves such bodies has it. */
const LIMITS = { ATOLL_LIMITS__CPU_MS: "3600000", ATOLL_LIMITS__WALL_MS: "3600000" };

const STALL_MS = 1_000;

/** What the kernel's buffers hold of both directions (tcp_rmem, tcp_wmem), and a window of chunks. */
const HELD_MOST = 128 * MIB;

type Engine = "native" | "portable";

/** How much longer one of these is for the large body. Collectors leave garbage lying for a while. */
const GROWTH: Record<Engine, number> = { native: 384 * MIB, portable: 160 * MIB };
const LENGTH: Record<Engine, number> = { native: LARGE, portable: LARGE / 8 * 3 };

async function withBodies(
  engine: Engine,
  body: (server: ServerProcess, port: number) => Promise<void>,
): Promise<void> {
  if (engine === "native") await buildNative();
  await withServer({
    plugins: [fixtureFolder("hello-http"), fixtureFolder("hostile-http"), fixtureFolder("text")],
    args: ["--engine", engine],
    env: LIMITS,
    tools: ["text_analyse"],
    routes: ["/http/hello-http/", "/http/hostile-http/"],
  }, (server) => body(server, Number(new URL(server.url).port)));
}

/** Exchanges whose every byte is accounted for. */
const EXCHANGES: Readonly<Record<string, (bytes: number) => Omit<LargeExchange, "port">>> = {
  "generated": (bytes) => ({ method: "GET", path: `/http/hello-http/stream?bytes=${bytes}` }),
  "generated for a reader that stalls": (bytes) => ({
    method: "GET",
    path: `/http/hello-http/stream?bytes=${bytes}`,
    stallMs: STALL_MS,
  }),
  "counted": (bytes) => ({ method: "POST", path: "/http/hostile-http/count", send: bytes }),
  "echoed": (bytes) => ({
    method: "POST",
    path: "/http/hello-http/echo",
    send: bytes,
    ahead: MIB,
  }),
};

for (const engine of ["native", "portable"] as const) {
  test(`${engine}: memory stays flat while bodies of any length pass, both ways`, () =>
    withBodies(engine, async (server, port) => {
      for (const [name, exchange] of Object.entries(EXCHANGES)) {
        const peakOf = async (bytes: number) => {
          // From here on the peak counts anew: proc_pid_clear_refs(5).
          writeFileSync(`/proc/${server.child.pid}/clear_refs`, "5");
          const answer = await exchangeLarge({ port, ...exchange(bytes) });
          assert.equal(answer.status, 200, name);
          if (name === "counted") assert.equal(answer.text, `${bytes} ${sumOfBody(bytes)}`);
          else assert.equal(answer.received, bytes, name);
          if (name === "echoed") assert.equal(answer.sum, sumOfBody(bytes));
          return peakBytes(server);
        };
        const small = await peakOf(SMALL);
        const large = await peakOf(LENGTH[engine]);
        const growth = large - small;
        assert.ok(growth < GROWTH[engine], `${name}: ${small / MIB} MiB, then ${large / MIB} MiB`);
      }
    }));

  test(`A18, ${engine}: a guest that never reads, a client that never does, hold the sender back`, () =>
    withBodies(engine, async (_server, port) => {
      for (const path of ["/http/hostile-http/hold", "/http/hello-http/echo"]) {
        const socket = connect(port, "127.0.0.1");
        socket.on("error", () => {});
        const progress = { sent: 0, received: 0 };
        const head = [
          `POST ${path} HTTP/1.1`,
          `Host: 127.0.0.1:${port}`,
          `Content-Length: ${LARGE}`,
        ];
        socket.write(`${head.join("\r\n")}\r\n\r\n`);
        socket.pause();
        const sending = sendBody(socket, LARGE, progress);
        await standstill(() => progress.sent);
        assert.ok(progress.sent < HELD_MOST, `${path} took ${progress.sent / MIB} MiB`);
        // Others do not notice.
        assert.equal((await exchangeLarge({ port, ...EXCHANGES["counted"]!(MIB) })).status, 200);
        socket.destroy();
        await sending;
      }
    }));
}

/** Resolves when a number has not changed for a second. */
async function standstill(read: () => number): Promise<void> {
  for (let before = -1; before !== read();) {
    before = read();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

/** Most resident memory of the server since the peak was set back, by proc(5). */
function peakBytes(server: ServerProcess): number {
  const status = readFileSync(`/proc/${server.child.pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
