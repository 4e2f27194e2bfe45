/** Versions and the check for a runtime that is too old. */
import { equal, match, ok } from "node:assert/strict";
import { runtime, test } from "../../tests/harness.ts";
import { compareVersions, currentRuntime, MINIMUM_VERSIONS, runtimeObstacle } from "./runtime.ts";

test("versions are ordered as semver orders them", () => {
  const ordered = ["1.0.0-alpha", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"];
  for (let index = 1; index < ordered.length; index++) {
    ok(compareVersions(ordered[index - 1] ?? "", ordered[index] ?? "") < 0, ordered[index] ?? "");
  }
  equal(compareVersions("1.2.3+abc", "1.2.3"), 0);
});

test("a Deno or Bun that is too old is named with what is needed", () => {
  match(
    runtimeObstacle({ name: "deno", version: "2.8.9" }) ?? "",
    /^Cannot run under Deno 2\.8\.9: at least 2\.9\.0 is needed/,
  );
  match(runtimeObstacle({ name: "bun", version: "1.3.0" }) ?? "", /Bun 1\.3\.0: at least 1\.4\.1/);
  match(runtimeObstacle({ name: "node", version: "20.0.0" }) ?? "", /Deno 2\.9\.0 or Bun 1\.4\.1/);
  equal(runtimeObstacle({ name: "deno", version: MINIMUM_VERSIONS.deno }), null);
  equal(runtimeObstacle({ name: "bun", version: MINIMUM_VERSIONS.bun }), null);
});

test("the current runtime is the one that the tests run in, and new enough", () => {
  equal(currentRuntime().name, runtime);
  equal(runtimeObstacle(currentRuntime()), null);
});
