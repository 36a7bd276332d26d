// Every sentence of the page, in English and French, and how figures are written in both.

const EN = 0;
const FR = 1;

let language = pick();

function pick() {
  let kept = null;
  try { kept = localStorage.getItem('language'); } catch { /* storage is off: the browser decides */ }
  return (kept || navigator.language || 'en').startsWith('fr') ? FR : EN;
}

export const isFrench = () => language === FR;
export const languageTag = () => (isFrench() ? 'fr' : 'en');
const locale = () => (isFrench() ? 'fr-FR' : 'en-US');

export function setLanguage(tag) {
  language = tag === 'fr' ? FR : EN;
  try { localStorage.setItem('language', tag); } catch { /* it holds for this visit */ }
}

const TEXTS = {
  skip: ['Skip to content', 'Aller au contenu'],
  newApp: ['New app', 'Nouvelle app'],
  apps: ['Apps', 'Apps'],
  menu: ['Menu', 'Menu'],
  language: ['Language', 'Langue'],
  namespace: ['Namespace', 'Espace de noms'],
  useNamespace: ['Use', 'Choisir'],
  shortcuts: ['Keyboard shortcuts', 'Raccourcis clavier'],
  forgetToken: ['Forget my token', 'Oublier mon jeton'],
  pauseLive: ['Pause live updates', 'Suspendre les mises à jour'],
  resumeLive: ['Resume live updates', 'Reprendre les mises à jour'],
  paused: ['Live updates are paused.', 'Les mises à jour sont suspendues.'],
  pausedMore: ['The countdown goes on; the rest is as it was then.', 'Le compte à rebours continue ; le reste date de ce moment.'],
  notices: ['Notices', 'Avis'],
  close: ['Close', 'Fermer'],
  cancel: ['Cancel', 'Annuler'],
  copy: ['Copy', 'Copier'],
  copied: ['Copied', 'Copié'],
  undo: ['Undo', 'Annuler'],
  readAll: ['Read all', 'Tout lire'],
  kilobytes: ['kB', 'ko'],
  loading: ['Loading', 'Chargement'],

  // Order
  orderTitle: ['What should the app do?', 'Que doit faire l’app ?'],
  orderLead: ['Describe it in your own words. Claude writes it, it runs on a server of its own, and everything is gone when its time is over.', 'Décrivez-la avec vos mots. Claude l’écrit, elle tourne sur son propre serveur, et tout disparaît quand son temps est écoulé.'],
  promptExample: ['A retro board with three columns, cards people can add and vote on', 'Un tableau de rétro à trois colonnes, avec des cartes à ajouter et à voter'],
  promptHint: ['Say what people see, what they can do and what is kept. No passwords or keys: the text goes to Claude.', 'Dites ce que l’on voit, ce que l’on peut faire et ce qui est gardé. Ni mot de passe ni clé : le texte part chez Claude.'],
  charactersLeft: ['{n} characters left', '{n} caractères restants'],
  charactersOver: ['{n} characters too many: write at most 2,000.', '{n} caractères de trop : 2 000 au plus.'],
  blank: ['Write in a sentence or two what the app should be.', 'Écrivez en une ou deux phrases ce que l’app doit être.'],
  kind: ['Kind', 'Type'],
  webapp: ['Web page', 'Page web'],
  api: ['API', 'API'],
  fullstack: ['Pages + API', 'Pages + API'],
  script: ['Script', 'Script'],
  webappMore: ['Runs in the browser', 'Dans le navigateur'],
  apiMore: ['Node.js, answers requests', 'Node.js, répond aux requêtes'],
  fullstackMore: ['Pages and stored data', 'Pages et données gardées'],
  scriptMore: ['Python, runs once', 'Python, tourne une fois'],
  machine: ['Machine', 'Machine'],
  light: ['Light', 'Léger'],
  standard: ['Standard', 'Standard'],
  complex: ['Complex', 'Complexe'],
  howLong: ['How long', 'Durée'],
  until: ['Until {t}', 'Jusqu’à {t}'],
  keys: ['Keys for other services', 'Clés pour d’autres services'],
  keysHint: ['One a line: NAME=secret/key, from a Secret that its owner offers to SpawnAI. The app gets the value; Claude gets the name only.', 'Une par ligne : NOM=secret/clé, d’un Secret que son propriétaire met à disposition de SpawnAI. L’app reçoit la valeur ; Claude, le nom seul.'],
  keysWrong: ['Write NAME=secret/key, the name in capital letters.', 'Écrivez NOM=secret/clé, le nom en majuscules.'],
  howLongHint: ['Counts from the moment the app is ready. You can extend or end it at any time.', 'Compte dès que l’app est prête. Prolongez-la ou arrêtez-la quand vous voulez.'],
  create: ['Create app', 'Créer l’app'],
  estimate: ['Estimate', 'Estimation'],
  server: ['Server', 'Serveur'],
  claudeWriting: ['Claude, writing', 'Claude, écriture'],
  overhead: ['Overhead {p}', 'Frais {p}'],
  cost: ['Cost', 'Coût'],
  price: ['Price', 'Prix'],
  ready: ['Ready', 'Prête'],
  ends: ['Ends', 'Fin'],
  usually: ['usually in {a} to {b} s', 'd’habitude en {a} à {b} s'],
  firstOfKind: ['the first of its kind here', 'la première de ce type ici'],
  inUse: ['{n} of {m} apps in use', '{n} apps sur {m} en cours'],
  willWaitFor: ['This one waits in line: {m}.', 'Celle-ci attendra : {m}.'],
  willWaitForMoney: ['This one waits for money: {m}.', 'Celle-ci attendra que le budget le permette : {m}.'],
  willWait: ['{n} of {m} apps in use: this one waits in line.', '{n} apps sur {m} en cours : celle-ci attendra.'],
  budget: ['Budget', 'Budget'],
  budgetLeft: ['{c} left of {d}', 'il reste {c} sur {d}'],
  noEstimate: ['No estimate while the operator does not answer.', 'Pas d’estimation tant que l’opérateur ne répond pas.'],
  orderArrives: ['Sending the order', 'Envoi de la commande'],

  // States
  stateSent: ['Ordered', 'Commandée'],
  stateWaiting: ['Waiting', 'En attente'],
  stateBuilding: ['Building', 'En création'],
  stateRunning: ['Running', 'En marche'],
  stateEndsSoon: ['Ends soon', 'Bientôt finie'],
  stateNotAnswering: ['Not answering', 'Ne répond pas'],
  stateInPart: ['Works in part', 'Marche en partie'],
  stateFailed: ['Failed', 'Échec'],
  stateEnding: ['Ending', 'Arrêt'],
  stateEnded: ['Ended', 'Terminée'],

  // Building
  ordered: ['Ordered', 'Commandée'],
  aboutInAll: ['About {c} in all: server {s}, Claude {m}', '{c} environ au total : serveur {s}, Claude {m}'],
  ofAbout: ['of about {n} s', 'sur {n} s environ'],
  longer: ['Longer than usual. The limit is {n} min; then it ends and costs you nothing.', 'Plus long que d’habitude. La limite est de {n} min ; au-delà, tout s’arrête et vous ne payez rien.'],
  stepServer: ['Server', 'Serveur'],
  stepCode: ['Code', 'Code'],
  stepStart: ['Start', 'Démarrage'],
  stepCheck: ['Check', 'Vérification'],
  nowServer: ['A server of its own is starting', 'Son propre serveur démarre'],
  nowServerIn: ['A server of its own is starting in {r}', 'Son propre serveur démarre à {r}'],
  nowCode: ['Claude is writing it', 'Claude l’écrit'],
  nowCodeAbout: ['Claude is writing it, about {p} done', 'Claude l’écrit, fait à {p} environ'],
  nowCodeFile: ['Claude is writing {f}, about {p} done', 'Claude écrit {f}, fait à {p} environ'],
  nowRepair: ['Claude is repairing it, {n} of 2: {e}', 'Claude la répare, {n} sur 2 : {e}'],
  nowStart: ['Installing and starting it', 'Installation et démarrage'],
  nowCheck: ['Opening every page in a browser, over https', 'Chaque page est ouverte dans un navigateur, en https'],
  nowCheckPlain: ['Making sure that it answers', 'On vérifie qu’elle répond'],
  doneServer: ['Running in {r}, firewall closed', 'En marche à {r}, pare-feu fermé'],
  doneServerHere: ['Running, firewall closed', 'En marche, pare-feu fermé'],
  doneCode: ['Written and checked', 'Écrit et vérifié'],
  doneCodeFiles: ['{n} files, checked', '{n} fichiers, vérifiés'],
  doneStart: ['Answers', 'Répond'],
  doneCheck: ['No errors found', 'Aucune erreur'],
  goesOn: ['You can close this page. The app goes on without it.', 'Vous pouvez fermer cette page : l’app continue sans elle.'],
  cancelOrder: ['Cancel the order', 'Annuler la commande'],
  writesHere: ['Its files appear here as Claude writes them.', 'Ses fichiers apparaissent ici à mesure que Claude les écrit.'],
  sayStep: ['{p}. {w}.', '{p}. {w}.'],
  sayReady: ['{n} is ready.', '{n} est prête.'],
  sayMoved: ['{n} now ends at {t}.', '{n} : fin désormais à {t}.'],
  sayFailed: ['{n} failed.', '{n} : échec.'],

  // Running
  openApp: ['Open app', 'Ouvrir l’app'],
  picture: ['Picture of the app, taken when it became ready', 'Image de l’app, prise quand elle était prête'],
  noPicture: ['The app runs. Open it to see it.', 'L’app est en marche. Ouvrez-la pour la voir.'],
  timeLeft: ['Time left', 'Temps restant'],
  endsAt: ['Ends at {t}, your time ({z})', 'Se termine à {t}, votre heure ({z})'],
  plusHour: ['+1 h → {t}', '+1 h → {t}'],
  extend: ['Extend…', 'Prolonger…'],
  endNow: ['End now…', 'Arrêter…'],
  costSoFar: ['Cost so far', 'Coût jusqu’ici'],
  expected: ['Expected in all', 'Total prévu'],
  nowEnds: ['Now ends at {t}', 'Fin désormais à {t}'],
  capped: ['Capped at {d}, the most this class allows.', 'Limité à {d}, le maximum de cette classe.'],
  claudeNotes: ['Claude notes:', 'Note de Claude :'],
  asExpected: ['Does it work as you expected?', 'Marche-t-elle comme prévu ?'],
  yes: ['Yes', 'Oui'],
  no: ['No', 'Non'],
  thanks: ['Noted, thank you.', 'C’est noté, merci.'],
  scriptRan: ['It ran for {n} s and ended well. Its output stays until {t}.', 'Il a tourné {n} s, sans erreur. Sa sortie reste jusqu’à {t}.'],
  scriptEnded: ['It ran and ended well. Its output stays until {t}.', 'Il a tourné sans erreur. Sa sortie reste jusqu’à {t}.'],
  notAnswering: ['It stopped answering at {t}.', 'Elle ne répond plus depuis {t}.'],
  AgentUnreachable: ['Its server does not answer, so nobody knows how the app is. It is asked again and again.', 'Son serveur ne répond pas : nul ne sait comment va l’app. La question lui est reposée sans cesse.'],
  OperatorBlind: ['Many servers do not answer at once, so the fault is most likely not theirs. The app may run; nothing is changed meanwhile.', 'Beaucoup de serveurs ne répondent plus à la fois : la panne est sans doute ailleurs. L’app marche peut-être ; rien n’est changé d’ici là.'],
  NetworkPath: ['It runs, but nobody reaches it: something on the way is cut, such as a firewall.', 'Elle marche, mais rien ne l’atteint : quelque chose bloque le chemin, un pare-feu par exemple.'],
  PoweredOff: ['Its server is switched off.', 'Son serveur est éteint.'],
  Replacing: ['Its server is lost, so it moves to another one. Its end stays the same.', 'Son serveur est perdu : elle passe sur un autre. Sa fin ne change pas.'],
  repairing: ['Claude is repairing it.', 'Claude la répare.'],
  inPart: ['It runs, but one thing does not work: {f}', 'Elle marche, sauf une chose : {f}'],

  // Tabs
  tabChange: ['Change', 'Modifier'],
  tabLogs: ['Logs', 'Journal'],
  tabSource: ['Source', 'Code source'],
  tabDetails: ['Details', 'Détails'],
  changeTitle: ['What should the app be now?', 'Que doit être l’app maintenant ?'],
  changeHint: ['Claude changes as little as it can. The app keeps running and switches when the new version works. Data is kept.', 'Claude change le moins possible. L’app reste en marche et bascule quand la nouvelle version marche. Les données restent.'],
  changeUsual: ['Usually about {n} s and {c}.', 'D’habitude {n} s et {c} environ.'],
  changeCost: ['The change cost {c}.', 'La modification a coûté {c}.'],
  changeGo: ['Change app', 'Modifier l’app'],
  changeSame: ['Change the text first.', 'Modifiez d’abord le texte.'],
  versions: ['Versions', 'Versions'],
  versionRuns: ['Running', 'En marche'],
  goBack: ['Go back', 'Y revenir'],
  free: ['free', 'gratuit'],
  changing: ['A new version is being made.', 'Une nouvelle version est en cours.'],
  changingMore: ['Version {n} answers until then.', 'La version {n} répond d’ici là.'],
  updateFailed: ['The new version did not work; version {n} is still running.', 'La nouvelle version ne marche pas ; la version {n} reste en marche.'],
  changeWaits: ['The change waits for its budget.', 'La modification attend que son budget le permette.'],
  editText: ['Edit the text', 'Reprendre le texte'],
  follow: ['Follow', 'Suivre'],
  filterLines: ['Filter lines', 'Filtrer'],
  newLines: ['{n} new lines', '{n} nouvelles lignes'],
  download: ['Download', 'Télécharger'],
  noLogs: ['The log cannot be read now: {e}', 'Le journal est illisible pour l’instant : {e}'],
  nothingLogged: ['Nothing has been logged yet.', 'Rien n’a encore été écrit.'],
  logEnded: ['The log ends here.', 'Fin du journal.'],
  downloadZip: ['Download .zip', 'Télécharger .zip'],
  eject: ['Take it with you: the code, the prompt and every version as commits, in a Git repository of your own.', 'Emportez-la : le code, le texte et chaque version en commits, dans votre propre dépôt Git.'],
  sameInShell: ['The same in a shell', 'La même chose dans un terminal'],
  noSource: ['The source cannot be read now: {e}', 'Le code est illisible pour l’instant : {e}'],
  region: ['Region', 'Région'],
  address: ['Address', 'Adresse'],
  model: ['Model', 'Modèle'],
  tokens: ['Tokens', 'Jetons'],
  tokensInOut: ['{i} in, {o} out', '{i} reçus, {o} écrits'],
  class: ['Class', 'Classe'],
  forWhom: ['For', 'Pour'],
  conditions: ['Conditions', 'Conditions'],

  // Waiting
  inLine: ['In line', 'Dans la file'],
  waitsForMoney: ['Waits for its budget', 'Attend son budget'],
  startsByItself: ['This one starts by itself as soon as there is room; until then it costs nothing.', 'Celle-ci démarre seule dès qu’il y a de la place ; d’ici là, elle ne coûte rien.'],
  endsNext: ['Ends next', 'Prochaine fin'],

  // Failed
  AppCrashed: ['The app crashed when it started', 'L’app a planté au démarrage'],
  AppNeverAnswered: ['The app started but never answered', 'L’app a démarré sans jamais répondre'],
  OutOfMemory: ['It needs more memory than its machine has', 'Il lui faut plus de mémoire que n’en a sa machine'],
  DiskFull: ['It filled its disk', 'Elle a rempli son disque'],
  InstallFailed: ['A package could not be installed', 'Un paquet n’a pas pu être installé'],
  RuntimeNotInstalled: ['The server could not be set up', 'Le serveur n’a pas pu être préparé'],
  PageBroken: ['The page does not work', 'La page ne fonctionne pas'],
  ProvisioningDeadlineExceeded: ['It was not ready in time', 'Elle n’était pas prête à temps'],
  AppStoppedAnswering: ['The app stopped answering', 'L’app a cessé de répondre'],
  WrongPort: ['The app listens on a port that is not its own', 'L’app écoute sur un port qui n’est pas le sien'],
  ScriptFailed: ['The script ended with an error', 'Le script s’est terminé par une erreur'],
  TooManyProcesses: ['It started too many processes', 'Elle a lancé trop de processus'],
  GenerationTruncated: ['It is too much for one app', 'C’est trop pour une seule app'],
  GenerationInvalid: ['What Claude wrote makes no app', 'Ce que Claude a écrit ne fait pas une app'],
  BudgetExceeded: ['Its budget does not bear what it needs', 'Son budget ne couvre pas ce qu’il lui faut'],
  DropletLost: ['Its server was deleted by somebody else', 'Son serveur a été supprimé par un tiers'],
  GenerationRefused: ['Claude declined to write this', 'Claude a refusé d’écrire cela'],
  failedOther: ['The app could not be made', 'L’app n’a pas pu être créée'],
  failedWaits: ['The app cannot go on', 'L’app ne peut pas continuer'],
  payNothing: ['Everything was destroyed and you pay nothing.', 'Tout est détruit et vous ne payez rien.'],
  allDestroyed: ['Everything was destroyed.', 'Tout est détruit.'],
  repairedInVain: ['Claude repaired it {n}, in vain.', 'Claude l’a réparée {n}, en vain.'],
  once: ['once', 'une fois'],
  twice: ['twice', 'deux fois'],
  firstError: ['First error', 'Première erreur'],
  whatToDo: ['What to do', 'Que faire'],
  doOutOfMemory: ['Order it as {m}: that machine has more.', 'Commandez-la en {m} : cette machine en a plus.'],
  doCrashed: ['Say in the text where its data should come from. The app cannot reach private networks or files on your machine.', 'Précisez dans le texte d’où viennent les données. L’app n’atteint ni réseau privé ni fichier de votre poste.'],
  doRefused: ['Say what the app is for, or ask for something else.', 'Dites à quoi sert l’app, ou demandez autre chose.'],
  doAgain: ['Order it again. Often a shorter, clearer text helps.', 'Commandez-la de nouveau. Un texte plus court et plus clair aide souvent.'],
  doAsk: ['It goes on by itself when this is put right. Ask your platform team.', 'Elle continue seule une fois cela réglé. Demandez à votre équipe plateforme.'],
  editAgain: ['Edit and order again', 'Modifier et recommander'],
  sameAgain: ['Same order again', 'Recommander à l’identique'],

  // Ending, receipt
  usuallyUnder: ['usually under 5 s', 'd’habitude moins de 5 s'],
  addressOff: ['Address off', 'Adresse coupée'],
  serverDestroyed: ['Server destroyed', 'Serveur détruit'],
  seenGone: ['Seen gone', 'Disparition constatée'],
  receipt: ['Receipt', 'Reçu'],
  timeOver: ['Its time was over', 'Son temps était écoulé'],
  youEnded: ['You ended it', 'Vous l’avez arrêtée'],
  itFailed: ['It failed', 'Échec'],
  resource: ['resource', 'ressource'],
  made: ['made', 'créé'],
  deleted: ['deleted', 'supprimé'],
  gone: ['seen gone', 'constaté'],
  Droplet: ['Server', 'Serveur'],
  Firewall: ['Firewall', 'Pare-feu'],
  DomainRecord: ['Address', 'Adresse'],
  Certificate: ['Certificate', 'Certificat'],
  LoadBalancer: ['Load balancer', 'Répartiteur'],
  nothingLeft: ['Nothing is left', 'Il ne reste rien'],
  somethingLeft: ['Not yet seen gone: {w}; looking again by itself', 'Pas encore constaté : {w} ; nouvelle vérification automatique'],
  estimateWas: ['Estimate {c}', 'Estimation {c}'],
  print: ['Print', 'Imprimer'],
  downloadJson: ['Download JSON', 'Télécharger JSON'],
  removeFromList: ['Remove from the list', 'Retirer de la liste'],
  sourceKept: ['The source is kept until {d}.', 'Le code source est gardé jusqu’au {d}.'],
  sourceStays: ['The source is kept for as long as the app is on the list.', 'Le code source est gardé tant que l’app est dans la liste.'],
  removed: ['{n} is off the list. Its receipt stays in the history.', '{n} est retirée de la liste. Son reçu reste dans l’historique.'],

  // List
  find: ['Find by name, text or person', 'Nom, texte ou personne'],
  all: ['All', 'Toutes'],
  app: ['App', 'App'],
  state: ['State', 'État'],
  shown: ['{n} of {m} apps', '{n} apps sur {m}'],
  history: ['History', 'Historique'],
  historyShown: ['{n} ended, {c} in all', '{n} terminées, {c} au total'],
  historyNewest: ['The newest {n}, {c} in all', 'Les {n} dernières, {c} au total'],
  older: ['Show older ones', 'Afficher les précédentes'],
  person: ['Person', 'Personne'],
  allNamespaces: ['All namespaces', 'Tous les espaces de noms'],
  endedSince: ['Ended since', 'Terminées depuis'],
  missingOlder: ['The history database does not answer: older apps are missing.', 'La base de l’historique ne répond pas : les apps plus anciennes manquent.'],
  missingNewest: ['The operator does not answer: apps that ended in the last minute may be missing.', 'L’opérateur ne répond pas : les apps terminées depuis une minute peuvent manquer.'],
  more: ['Show {n} more', 'En afficher {n} de plus'],
  noMatch: ['No app matches.', 'Aucune app ne correspond.'],
  clear: ['Clear filters', 'Effacer les filtres'],
  emptyTitle: ['Nothing runs here', 'Rien ne tourne ici'],
  emptyMore: ['The first app takes about a minute and a few cents.', 'La première app prend environ une minute et quelques centimes.'],
  now: ['now', 'maint.'],

  // Dialogs
  extendTitle: ['Extend {n}', 'Prolonger {n}'],
  newEnd: ['New end', 'Nouvelle fin'],
  addsAbout: ['adds about {c}', 'ajoute environ {c}'],
  atMost: ['At most {d} in this class.', '{d} au plus dans cette classe.'],
  extendGo: ['Extend', 'Prolonger'],
  endTitle: ['End {n} now?', 'Arrêter {n} maintenant ?'],
  endMore: ['The server and all data on it are destroyed within seconds. The receipt and the source stay.', 'Le serveur et toutes ses données sont détruits en quelques secondes. Le reçu et le code source restent.'],
  endGo: ['End app', 'Arrêter l’app'],
  keep: ['Keep it running', 'La laisser en marche'],

  // Bars
  endsIn: ['Ends in {t}.', 'Fin dans {t}.'],
  endsInMore: ['Then the server and its data are destroyed.', 'Ensuite, le serveur et ses données sont détruits.'],
  offline: ['No connection since {t}.', 'Pas de connexion depuis {t}.'],
  offlineMore: ['The countdown goes on; the rest is as it was then. Trying again by itself.', 'Le compte à rebours continue ; le reste date de ce moment. Nouvel essai automatique.'],
  operatorDown: ['The operator does not answer.', 'L’opérateur ne répond pas.'],
  operatorDownMore: ['Apps that run keep running and still stop at their end. New orders are kept and start when it is back.', 'Les apps en marche continuent et s’arrêtent à l’heure. Les commandes sont gardées et démarreront à son retour.'],
  tokenExpired: ['Your token has expired.', 'Votre jeton a expiré.'],
  tokenExpiredMore: ['Nothing is lost. Paste a new one to go on.', 'Rien n’est perdu. Collez-en un nouveau pour continuer.'],
  cannotOrder: ['You can look here, but not order.', 'Vous pouvez regarder ici, pas commander.'],
  cannotOrderMore: ['Ask your platform team for the role spawnai-session-editor in {ns}, or choose another namespace.', 'Demandez à votre équipe plateforme le rôle spawnai-session-editor dans {ns}, ou choisissez un autre espace de noms.'],
  cannotSee: ['You may not see the apps in {ns}.', 'Vous ne pouvez pas voir les apps de {ns}.'],
  cannotSeeMore: ['Choose another namespace in the menu, or ask your platform team for the role spawnai-session-viewer.', 'Choisissez un autre espace de noms dans le menu, ou demandez le rôle spawnai-session-viewer à votre équipe plateforme.'],
  tryNow: ['Try now', 'Réessayer'],
  notDone: ['It was not done: {e}', 'Ce n’est pas fait : {e}'],

  // Sign in
  signIn: ['Sign in', 'Connexion'],
  signInMore: ['Paste a Kubernetes token. It stays in this page’s memory and is gone when you reload.', 'Collez un jeton Kubernetes. Il reste dans la mémoire de cette page et disparaît au rechargement.'],
  token: ['Token', 'Jeton'],
  getOneWith: ['Get one with', 'Pour en obtenir un'],
  tokenRefused: ['This token is not accepted.', 'Ce jeton n’est pas accepté.'],
  notFound: ['There is no app “{n}” here.', 'Il n’y a pas d’app « {n} » ici.'],

  // Shortcuts
  keyNew: ['New app', 'Nouvelle app'],
  keyFind: ['Find', 'Chercher'],
  keyApps: ['All apps', 'Toutes les apps'],
  keyNext: ['Next, previous app', 'App suivante, précédente'],
  keyOpen: ['Open the app', 'Ouvrir l’app'],
  keyExtend: ['Extend', 'Prolonger'],
  keyTabs: ['Change, Logs, Source, Details', 'Modifier, Journal, Source, Détails'],
  keySend: ['Send', 'Envoyer'],
  keyThis: ['This list', 'Cette liste'],
  useKeys: ['Use single-key shortcuts', 'Utiliser les raccourcis à une touche'],
};

// A space before these marks must not end a line in French.
export const bind = (text) => (isFrench()
  ? text.replace(/ ([:;!?»%$])/g, '\u00a0$1').replace(/« /g, '«\u00a0')
  : text);

export const has = (key) => Object.hasOwn(TEXTS, key);

export const t = (key, values = {}) => bind(
  TEXTS[key][language].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? ''),
);

export const percent = (n) => `${Math.round(n)}${isFrench() ? '\u00a0%' : '%'}`;

export const money = (dollars, digits = 2) => new Intl.NumberFormat(locale(), {
  style: 'currency',
  currency: 'USD',
  currencyDisplay: 'narrowSymbol',
  minimumFractionDigits: digits,
  maximumFractionDigits: digits,
}).format(dollars);

export const number = (n, digits = 0) => n.toLocaleString(locale(), {
  minimumFractionDigits: digits, maximumFractionDigits: digits,
});

export const HOUR = 3_600_000;
export const MINUTE = 60_000;

// Local time, 24 hours; with the day where it is far.
export function clockTime(moment, now = Date.now()) {
  const far = Math.abs(moment - now) > 20 * HOUR;
  return new Intl.DateTimeFormat(locale(), {
    ...(far && { weekday: 'short', day: 'numeric', month: 'short' }),
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).format(moment);
}

export const clockSeconds = (moment) => new Date(moment).toLocaleTimeString(locale(), { hourCycle: 'h23' });

export const day = (moment) => new Intl.DateTimeFormat(locale(), { day: 'numeric', month: 'long' }).format(moment);

export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone.split('/').pop().replace(/_/g, ' ');

// [number, unit] pairs: seconds only in the last ten minutes.
export function durationParts(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 60) return [[seconds, 's']];
  if (seconds < 600) return [[Math.floor(seconds / 60), 'min'], [seconds % 60, 's']];
  const minutes = Math.ceil(seconds / 60);
  const days = Math.floor(minutes / 1440);
  if (days) return [[days, isFrench() ? 'j' : 'd'], [Math.floor((minutes % 1440) / 60), 'h']].filter(([n], i) => n || i === 0);
  const whole = minutes >= 60 ? [[Math.floor(minutes / 60), 'h'], [minutes % 60, 'min']] : [[minutes, 'min']];
  return whole.filter(([n], i) => n || i === 0);
}

export const duration = (ms) => durationParts(ms)
  .map((part) => part.join('\u00a0')).join(' ');

const PLACES = {
  nyc: ['New York', 'New York'], sfo: ['San Francisco', 'San Francisco'], ams: ['Amsterdam', 'Amsterdam'],
  sgp: ['Singapore', 'Singapour'], fra: ['Frankfurt', 'Francfort'], lon: ['London', 'Londres'],
  tor: ['Toronto', 'Toronto'], blr: ['Bangalore', 'Bangalore'], syd: ['Sydney', 'Sydney'], atl: ['Atlanta', 'Atlanta'],
};

export function place(region) {
  const known = PLACES[region.replace(/\d+$/, '')];
  return known ? known[language] : region;
}
