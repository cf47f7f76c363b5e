// Runs before the first paint: applies the stored colour scheme, then loads the program.
// It is a file of its own because the content policy admits no inline script.
(() => {
  const { js, wasm } = document.currentScript.dataset;
  try {
    const theme = localStorage.getItem("fanfare.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be blocked; the system's scheme is used.
  }
  import(js)
    .then((program) => program.default({ module_or_path: wasm }))
    .catch((error) => {
      console.error(error);
      document.getElementById("boot-failed").hidden = false;
    });
})();
