// ReDoc. Of a document whose address it knows, it offers to send each page to services of others; so it gets the
// document itself.

import { init } from "./redoc.standalone.js";

const answer = await fetch("openapi.json");
const options = {
  disableTelemetry: true,
  downloadUrls: [{ title: "openapi.json", url: "openapi.json" }],
  // There is nothing to bundle: all references stay within the document.
  skipBundle: true,
};
init(await answer.json(), options, document.getElementById("viewer"));
