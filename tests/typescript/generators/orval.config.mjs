// orval: `npx orval`

import flatFilters from "./flat-filters.cjs";

const input = { target: "openapi.json" };
const output = { mode: "single", headers: true };

export default {
  fetch: {
    // With `attributes` and `related` as objects it would write "[object Object]".
    input: { ...input, override: { transformer: withoutObjects } },
    output: { ...output, target: "orval/fetch.ts", client: "fetch" },
  },
  axios: {
    input,
    output: {
      ...output,
      target: "orval/axios.ts",
      client: "axios-functions",
      override: { mutator: { path: "./axios-request.ts", name: "request", extension: ".js" } },
    },
  },
};

function withoutObjects(document) {
  const flat = flatFilters(document);
  for (const name of ["Attributes", "Related"]) {
    const reference = `#/components/parameters/${name}`;
    for (const operations of Object.values(flat.paths)) {
      for (const operation of Object.values(operations)) {
        operation.parameters = operation.parameters?.filter((each) => each.$ref !== reference);
      }
    }
  }
  return flat;
}
