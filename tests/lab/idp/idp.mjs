// An OpenID Connect provider on loopback: idp.mjs PORT REDIRECT_URI KEY CERT
import fs from 'node:fs';
import https from 'node:https';
import { Provider } from 'oidc-provider';

const [port, callback, key, cert] = process.argv.slice(2);
const users = {
  alice: { email: 'alice@example.test', groups: ['ops'] },
  bob: { email: 'bob@example.test', groups: ['sales'] },
};

const provider = new Provider(`https://localhost:${port}`, {
  clients: [
    {
      client_id: 'drydock',
      client_secret: 'shh-idp-client-secret',
      redirect_uris: [callback],
      post_logout_redirect_uris: [new URL('/', callback).href],
      response_types: ['code'],
      grant_types: ['authorization_code'],
      token_endpoint_auth_method: 'client_secret_post',
    },
    {
      client_id: 'other',
      client_secret: 'other-secret',
      redirect_uris: ['https://other.test/cb'],
      response_types: ['code'],
      grant_types: ['authorization_code'],
    },
  ],
  scopes: ['openid', 'email', 'profile', 'groups'],
  claims: { openid: ['sub', 'groups'], email: ['email'], profile: [] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => users[id] && { accountId: id, claims: async () => ({ sub: id, ...users[id] }) },
  pkce: { required: () => true },
  cookies: { keys: ['test'] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  ttl: { AccessToken: 60, IdToken: 60, AuthorizationCode: 30, Session: 600, Grant: 600, Interaction: 60 },
});

https
  .createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(cert) }, provider.callback())
  .listen(Number(port), '127.0.0.1', () => console.log('ready'));
