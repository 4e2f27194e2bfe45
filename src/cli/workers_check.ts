/** What the number of JavaScript workers means on this machine. Pure, as `doctor_checks.ts`. */
import type { Config } from "../config/schema.ts";
import type { Finding } from "./doctor_checks.ts";
import type { HostFacts } from "./host_facts.ts";

/** Workers against the processors that there are. */
export function workersFinding({ cpus }: HostFacts, config: Config): Finding {
  const check = "workers";
  const wanted = config.http.workers === 0 ? cpus : config.http.workers;
  const detail = `${counted(wanted, "JavaScript worker")} on ${counted(cpus, "CPU")}`;
  if (wanted > 1 && config.engine === "portable") {
    return {
      check,
      verdict: "degraded",
      detail,
      consequence:
        "the portable engine is in one thread, and so is the server; set http.workers to 1",
    };
  }
  if (wanted > cpus) {
    return {
      check,
      verdict: "degraded",
      detail,
      consequence:
        "workers take turns on a CPU and answer no more for it, but each takes memory; " +
        `set http.workers to ${cpus} or fewer, or to 0 for one a CPU`,
    };
  }
  const more = wanted < cpus ? "; http.workers lets more of them answer requests" : "";
  return { check, verdict: "ok", detail: detail + more };
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
