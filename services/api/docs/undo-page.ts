import { type PageRoute, page, pageRoute } from "moleculer-open-api";
import { BASE_PATH } from "../routes/index.ts";

/**
 * The page that the mail about a changed e-mail address links to. The token is in the fragment of the URL, which is
 * never sent to a server or logged. Nothing happens before the button is pressed, because mail scanners follow links.
 */
export function undoPage(): PageRoute {
  return pageRoute("undo", "/email/undo", {
    "GET /": (_req, res) => page(res, "text/html; charset=utf-8", PAGE),
    "GET /undo.js": (_req, res) => page(res, "text/javascript; charset=utf-8", SCRIPT),
  });
}

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Undo the change of the e-mail address</title>
</head>
<body>
<h1>Undo the change of the e-mail address</h1>
<p>Your account gets this e-mail address back, and all its sessions end. Choose a new password: the old one was known.</p>
<form id="form">
<p><label>New password <input id="password" type="password" autocomplete="new-password" minlength="8"></label></p>
<p><button>Undo the change</button></p>
</form>
<p id="outcome" role="status"></p>
<script src="/email/undo/undo.js"></script>
</body>
</html>
`;

const SCRIPT = `const form = document.getElementById("form");
const outcome = document.getElementById("outcome");
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const password = document.getElementById("password").value;
  const body = { token: location.hash.slice(1), ...(password && { new_password: password }) };
  const headers = { "Content-Type": "application/json" };
  try {
    const answer = await fetch("${BASE_PATH}/email/undo", { method: "POST", headers, body: JSON.stringify(body) });
    const problem = answer.ok ? undefined : await answer.json();
    outcome.textContent = problem ? problem.detail || problem.title : "Done. You can sign in with this address again.";
    if (!problem) form.remove();
  } catch {
    outcome.textContent = "The server cannot be reached. Try again.";
  }
});
`;
