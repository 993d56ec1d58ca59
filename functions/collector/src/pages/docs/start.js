// Shows the description that is beside the page. The credentials typed to sign in are forgotten with the page.
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
  responseInterceptor: (response) => {
    const missing = document.getElementById("missing");
    const words = {
      401: "This request needs credentials that are right. Click Authorize, type a username and a secret, and click Execute again.",
      403: "The access key does not allow this request. The answer says which scope it needs: click Authorize and use another key.",
    };
    missing.textContent = words[response.status] || "";
    missing.hidden = !missing.textContent;
    return response;
  },
});
