// hey-api: `npx openapi-ts`

import { readFileSync } from "node:fs";
import flatFilters from "./flat-filters.cjs";

export default {
  input: flatFilters(JSON.parse(readFileSync("openapi.json", "utf8"))),
  output: { path: "hey", module: { extension: ".js" } },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
};
