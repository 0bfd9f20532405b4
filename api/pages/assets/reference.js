// Scalar over our own document. What it would fetch from elsewhere (fonts, figures, a proxy, an assistant) is off.
Scalar.createApiReference("#reference", {
  url: "/openapi.json",
  agent: { disabled: true },
  mcp: { disabled: true },
  telemetry: false,
  withDefaultFonts: false,
  persistAuth: false, // a key that is typed in is gone with the page
  hideClientButton: true,
  showDeveloperTools: "never",
  documentDownloadType: "direct",
  authentication: { preferredSecurityScheme: "ApiKey" },
});
