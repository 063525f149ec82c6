import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../app/console/static",
    emptyOutDir: true,
    target: "es2022",
    // Data URLs are not allowed by our policy, and a preload polyfill is not needed by browsers of 2023.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": "http://127.0.0.1:5000" } },
});
