/** `deno task fuzz`: the C core for some seconds, or components, many of them. */
import process from "node:process";

if (process.argv[2] === "components") await import("./components.ts");
else await import("../../native/core/fuzz/main.ts");
