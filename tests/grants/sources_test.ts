/** Clocks and randomness as they are granted, and what an observed run tells. */
import assert from "node:assert/strict";
import { test } from "../harness.ts";
import { nativeBench, withFolder, withGuest } from "./support.ts";

const bench = nativeBench();

if (bench !== null) {
  test("clocks: they are as coarse as is granted, a millisecond otherwise", async () => {
    for (const [resolutionUs, nanos] of [[undefined, 1e6], [1, 1e3], [20_000, 2e7]] as const) {
      const grants = resolutionUs === undefined ? {} : { clocks: { resolutionUs } };
      await withGuest(bench, grants, async (guest) => {
        const readings = await guest.call("clocks") as readonly (number | string)[];
        const [monotonic, wall, ...times] = readings.map(BigInt);
        assert.deepEqual([monotonic, wall], [BigInt(nanos), BigInt(nanos)]);
        for (const time of times) assert.equal(time % BigInt(nanos), 0n);
      });
    }
  });

  test("randomness: calls differ, unless a seed makes them the same", async () => {
    const calls = async (grants: { random?: { seed: number } }) => {
      const found: string[] = [];
      await withGuest(bench, grants, async (guest) => {
        for (let n = 0; n < 2; n++) found.push(JSON.stringify(await guest.call("randomness")));
      });
      return found;
    };
    const [one, other] = await calls({});
    assert.notEqual(one, other);
    const [first, second] = await calls({ random: { seed: 7 } });
    assert.equal(first, second);
    assert.equal(new Set(JSON.parse(first ?? "[]")).size, 5, "its parts are not one sequence");
    const [third] = await calls({ random: { seed: 8 } });
    assert.notEqual(first, third);
  });

  test("observed: what is used of the grants is told, and what is denied with its address", async () => {
    await withFolder(async (path) => {
      const grants = {
        env: { A: "b" },
        folders: [{ path, at: "/data", write: true, bytes: 1 << 20 }, { path, at: "/unused" }],
        clocks: { resolutionUs: 10 },
        random: { seed: 1 },
      };
      await withGuest(bench, grants, async (guest) => {
        await guest.call("environment");
        await guest.call("clocks");
        await guest.call("randomness");
        await guest.steps("set-size /data/a 1", "read /data/a", "connect c 10.1.2.3:5432");
        const denied = await guest.account(({ capability }) => capability === "tcp");
        assert.deepEqual(denied.grant, { tcp: [{ host: "10.1.2.3", port: 5432 }] });
        // What std itself takes for its maps is told for each call.
        const used = [
          ...new Set(
            guest.told.filter(({ allowed }) => allowed).map(({ grant }) => JSON.stringify(grant)),
          ),
        ].map((grant) => JSON.parse(grant));
        const folder = { path, at: "/data" };
        assert.deepEqual(used, [
          { env: { A: "b" } },
          { clocks: { resolutionUs: 10 } },
          { random: { seed: 1 } },
          { folders: [{ ...folder, write: true, bytes: 1 << 20 }] },
          { folders: [folder] },
        ]);
      }, { observe: true });
      await withGuest(bench, {}, async (guest) => {
        await guest.call("folders");
        const asked = await guest.account(({ capability }) => capability === "folders");
        assert.deepEqual(asked.grant, { folders: [{ path: "PATH", at: "/" }] });
      }, { observe: true });
    });
  });

  test("grants of sources: the engine closes", async () => {
    await bench.close();
  });
}
