// The operator's sentences about waits, in the reader's language. What is not known here stays as it
// came.
import { bind, isFrench, money, place } from './words.js';

const dollars = (text) => money(Number(text));
const PERIODS = { day: 'jour', week: 'semaine', month: 'mois' };
// "for s-1vcpu-1gb in nyc3, sfo3": the places, each once.
const places = (where) => [...new Set((where.match(/\b[a-z]{3}\d+\b/g) || []).map(place))].join(', ');
const limit = (amount, period) => `${dollars(amount)} par ${PERIODS[period]}`;

const FRENCH = [
  [/^(\d+)(?:st|nd|rd|th) of (\d+): (.+)$/, (n, m, rest) => `${n}${n === '1' ? 're' : 'e'} sur ${m} : ${french(rest)}`],
  [/^namespace (\S+) has (\d+) of (\d+) running$/, (name, n, m) => `apps en cours dans l’espace de noms ${name} : ${n} sur ${m}`],
  [/^(.+) has (\d+) of (\d+) running$/, (who, n, m) => `apps en cours pour ${who} : ${n} sur ${m}`],
  [/^the class has (\d+) of (\d+) load balancers in use$/, (n, m) => `répartiteurs de la classe en service : ${n} sur ${m}`],
  [/^(.+) has ordered (\d+) in 15 minutes, (\d+) are allowed$/, (who, n, m) => `commandes de ${who} en 15 minutes : ${n}, le maximum est de ${m}`],
  [/^budget (\S+) \(([\d.]+) USD a (\w+)\) has no room for the ([\d.]+) USD that it may cost$/,
    (name, most, period, cost) => `le budget ${name} (${limit(most, period)}) ne couvre plus les ${dollars(cost)} qu’elle peut coûter`],
  [/^it may cost up to ([\d.]+) USD, more than budget (\S+) has in all \(([\d.]+) USD a (\w+)\)/,
    (cost, name, most, period) => `elle peut coûter ${dollars(cost)}, plus que tout le budget ${name} (${limit(most, period)}) : choisissez plus court ou une machine plus petite`],
  [/^budget (\S+) is used up by what began before$/, (name) => `le budget ${name} est épuisé par ce qui a commencé avant`],
  [/^The (?:new prompt|repair) waits: budget (.+) has no room for what Claude may take$/, (name) => `Le budget ${name} ne couvre plus ce que Claude peut prendre.`],
  [/^Waiting for the account's droplet limit(?:; position (\d+) in the queue)?/, (n) => `Les serveurs du compte sont tous pris${n ? ` ; place ${n} dans la file` : ''}`],
  [/^No region of the class has room now, trying again(?: \(([^)]+)\))?/, (where) => `Aucun serveur libre${where ? ` à ${places(where)}` : ''} pour l’instant ; nouvel essai automatique`],
  [/^No room (.+), trying (.+?): /, (where, next) => `Aucun serveur libre à ${places(where)} ; essai à ${places(next)}`],
  [/^DigitalOcean's calls are used up/, () => 'Trop d’appels chez DigitalOcean ; les suppressions passent d’abord'],
  [/^The droplet is made once Claude begins to write the app$/, () => 'Le serveur démarre dès que Claude commence à écrire'],
];

function french(text) {
  for (const [pattern, say] of FRENCH) {
    const found = pattern.exec(text);
    if (found) return say(...found.slice(1));
  }
  return text;
}

export const told = (text) => (isFrench() ? bind(french(text)) : text);
