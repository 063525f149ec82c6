// For generators whose clients write an object as text, or refuse a list in it: each condition of the object `filter`
// becomes a parameter of its own. Conditions whose names are free (`attributes.…`, `server.datacenter`) stay objects.

const resolve = (document, item) =>
  item.$ref ? item.$ref.slice(2).split("/").reduce((part, name) => part[name], document) : item;

module.exports = (document) => {
  for (const operations of Object.values(document.paths)) {
    for (const operation of Object.values(operations)) {
      const own = new Set(operation.parameters?.map((each) => resolve(document, each).name));
      operation.parameters = operation.parameters?.flatMap((each) => {
        const parameter = resolve(document, each);
        const schema = parameter.schema && resolve(document, parameter.schema);
        if (parameter.in !== "query" || !schema.properties) return [each];
        return Object.entries(schema.properties)
          .filter(([name]) => !own.has(name))
          .map(([name, member]) => ({ in: "query", name, schema: member, explode: true }));
      });
    }
  }
  return document;
};
