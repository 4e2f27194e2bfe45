/**
 * What cargo says about its outputs (The Cargo Book, "External tools", JSON messages).
 *
 * Where outputs lie depends on the user's configuration, so paths are read and never guessed.
 */

/** One `compiler-artifact` message. Paths are physical, whatever way the crate was reached. */
export interface CargoArtefact {
  readonly manifest_path: string;
  readonly filenames: readonly string[];
  /** As `--package` takes it; of a path it begins with `path+`. */
  readonly package_id: string;
  /** Cargo took it to be made of these sources already, by their times. */
  readonly fresh: boolean;
}

/** Whether a line of output is a message for programs. */
export function isCargoMessage(line: string): boolean {
  return line.startsWith('{"reason":');
}

/** The artefact that a message is about; null for messages about something else. */
export function cargoArtefact(line: string): CargoArtefact | null {
  const message = JSON.parse(line) as CargoArtefact & { readonly reason: string };
  return message.reason === "compiler-artifact" ? message : null;
}
