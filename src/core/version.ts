/** Atoll's own version: that of package.json, and the only place that reads it. */
import manifest from "../../package.json" with { type: "json" };

export const ATOLL_VERSION: string = manifest.version;
