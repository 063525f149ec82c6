// Swagger UI. The library with which it resolves references works through the whole document each time, which takes
// seconds: it is given the operation that is opened, and what that refers to.

const METHODS = new Set(["get", "put", "post", "delete", "options", "head", "patch", "trace"]);

/** The part of a document at a path such as `["paths", "/api/gpus", "get"]`, with all that it refers to in its place. */
function partOf(whole, path) {
  const part = { ...whole, paths: {}, components: {} };
  const visited = new Set();
  const include = (keys) => {
    const parents = keys.slice(0, -1);
    const name = keys.at(-1);
    const value = keys.reduce((from, key) => from?.[key], whole);
    parents.reduce((to, key) => (to[key] ??= {}), part)[name] = value;
    visit(value);
  };
  const visit = (value) => {
    if (value === null || typeof value !== "object") return;
    const reference = value.$ref;
    if (typeof reference === "string" && reference.startsWith("#/") && !visited.has(reference)) {
      visited.add(reference);
      include(reference.slice(2).split("/").map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~")));
    }
    Object.values(value).forEach(visit);
  };
  include(path);
  const [section, address] = path;
  // What all operations of an address have in common, such as the parameters in it.
  const members = section === "paths" ? Object.keys(whole.paths[address]) : [];
  members.filter((name) => !METHODS.has(name)).forEach((name) => include([section, address, name]));
  return part;
}

const partsOnly = ({ fn: { resolveSubtree } }) => ({
  fn: { resolveSubtree: (whole, path, options) => resolveSubtree(partOf(whole, path), path, options) },
});

window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#viewer",
  deepLinking: true,
  // Collapsed at first: a browser needs seconds to render all operations.
  docExpansion: "none",
  filter: true,
  tryItOutEnabled: true,
  validatorUrl: null,
  plugins: [partsOnly],
});
