// Makes the replica set rs0 and two users: root for people, wildcat for the hubs. What is
// there already stays as it is. Runs in mongosh on mongo-1's own network.
const env = process.env;
const local = 'mongodb://127.0.0.1:27017/?directConnection=true';
// mongo-1 is primary whenever it can be, since users are made there.
const members = [
  { _id: 0, host: 'mongo-1:27017', priority: 2 },
  { _id: 1, host: 'mongo-2:27017' },
  { _id: 2, host: 'mongo-3:27017' },
];

// as runs what needs rights: before there is a user anyone on the server's machine has them.
function as(user, password) {
  const conn = new Mongo(local);
  const admin = conn.getDB('admin');
  if (user) admin.auth(user, password);
  return admin;
}

function attempt(what, allowed) {
  try {
    return what();
  } catch (err) {
    if (!allowed.includes(err.codeName)) throw err;
    print(`nothing to do: ${err.codeName}`);
  }
}

function root() {
  try {
    return as('root', env.MONGO_ROOT_PASSWORD);
  } catch (err) {
    if (err.codeName !== 'AuthenticationFailed') throw err;
    return as(); // no users yet
  }
}

attempt(
  () => root().runCommand({ replSetInitiate: { _id: 'rs0', members } }),
  ['AlreadyInitialized', 'Unauthorized'],
);

for (let waited = 0; !as().hello().isWritablePrimary; waited++) {
  if (waited > 120) throw new Error('mongo-1 did not become primary within two minutes');
  sleep(1000);
}

attempt(
  () => as().createUser({ user: 'root', pwd: env.MONGO_ROOT_PASSWORD, roles: ['root'] }),
  ['Unauthorized', 'Location51003'],
);
attempt(
  () =>
    as('root', env.MONGO_ROOT_PASSWORD).createUser({
      user: 'wildcat',
      pwd: env.MONGO_PASSWORD,
      roles: [{ role: 'readWrite', db: 'wildcat' }],
    }),
  ['Location51003'], // it exists
);
print('rs0 is ready');
