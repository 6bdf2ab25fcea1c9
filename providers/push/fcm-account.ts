import type { KeyObject } from "node:crypto";
import { NotSentError, parsedObject } from "./http.ts";
import type { Push } from "./port.ts";
import { privateKeyOf } from "./private-key.ts";

const PROJECT_ID = /^(?:[a-z0-9.-]{1,80}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$/;
const EMAIL = /^[^\s@]{1,64}@[^\s@]{1,189}$/;
const FILE_HELP = "serviceAccount must be the JSON key file of a service account";

/** Our service account at Google. */
export interface ServiceAccount {
  projectId: string;
  clientEmail: string;
  /** Optional; becomes the `kid` of the assertion. */
  privateKeyId: string;
  key: KeyObject;
}

/**
 * Reads the service account from an agent's settings: either `serviceAccount`, the text of the downloaded key file, or
 * its fields `projectId`, `clientEmail`, `privateKey` and optionally `privateKeyId`. URLs in the file are ignored, so
 * that settings cannot choose the servers that we call.
 * @throws NotSentError for wrong settings; its message is for the admin and does not contain their values
 */
export function serviceAccountOf(settings: Push["settings"]): ServiceAccount {
  const { projectId = "", clientEmail = "", privateKey = "", privateKeyId = "" } = fieldsOf(settings);
  if (!PROJECT_ID.test(projectId)) throw new NotSentError("projectId must be the id of the Firebase project");
  if (!EMAIL.test(clientEmail))
    throw new NotSentError("clientEmail must be the address of the service account");
  const key = privateKeyOf(privateKey, "RSA");
  if (!key) throw new NotSentError("privateKey must be the private key of the service account, in PEM");
  return { projectId, clientEmail, privateKeyId, key };
}

function fieldsOf({ serviceAccount, ...fields }: Push["settings"]): Push["settings"] {
  if (!serviceAccount) return fields;
  const file = parsedObject(serviceAccount);
  if (file.type !== "service_account") throw new NotSentError(FILE_HELP);
  const names = ["project_id", "client_email", "private_key", "private_key_id"];
  const values = names.map((name) => file[name] ?? "");
  if (!values.every((value) => typeof value === "string")) throw new NotSentError(FILE_HELP);
  const [projectId = "", clientEmail = "", privateKey = "", privateKeyId = ""] = values;
  return { projectId, clientEmail, privateKey, privateKeyId };
}
