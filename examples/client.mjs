// One query or mutation with Node's own fetch.
// node client.mjs URL DOCUMENT
const [url, query] = process.argv.slice(2);
const response = await fetch(url, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ query }),
});
console.log(await response.text());
process.exit(response.ok ? 0 : 1);
