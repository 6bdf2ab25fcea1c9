/**
 * The words in the most frequent passwords of leaked collections, in lower case. password-policy.ts also finds them with
 * digits and signs around them and with the usual replacements of letters.
 */
const WORDS = `
password passwort passwd passw0rd pass motdepasse contrasena senha parola haslo salasana wachtwoord lozinka geheim
kennwort secret topsecret admin administrator root superuser sysadmin user username guest test tester testing demo
default changeme changeit change letmein openup opensesame welcome willkommen bienvenue bienvenido benvenuto hello
hallo hola bonjour ciao goodbye login logon signin signup access enter master system server service support manager
manage office company business computer laptop desktop internet network website online wireless security secure
qwerty qwertz azerty qwertyuiop qwertzuiop azertyuiop asdfgh asdfghjkl asdfghjk zxcvbn zxcvbnm yxcvbnm qazwsx
qazwsxedc qweasd qweasdzxc asdzxc qwaszx wasd wsxedc abcd abcde abcdef abcdefg abcdefgh abcabc aabbcc aaa bbb xxx zzz
iloveyou iloveme loveyou lovely lovelove love lover loveme ilove iloveu iloveyouu tequiero teamo ichliebedich schatz
schatzi liebe amore amour amor princess prinzessin prince queen king kingdom angel angels babygirl babyboy baby
sweetheart sweety sweetie honey sugar cookie candy chocolate cupcake butterfly flower flowers rose sunshine sunflower
rainbow moonlight starlight star stars galaxy universe heaven paradise dreams dream dreamer forever together friends
friend bestfriend family familia familie mother father mommy daddy mama papa brother sister grandma jesus jesuschrist
christ godisgood blessed blessing bible faith church trustno trustnoone trustme nothing something everything whatever
nopassword nopass none null blank hidden private mypassword mypass yourpassword thisismypassword newpassword
oldpassword resetpassword temppassword temp temporary pass1word pa55word p4ssword passpass passwordpassword
monkey dragon tiger lion eagle falcon hawk panther jaguar wolf wolves bear bulldog dolphin dolphins horse horses
kitty kitten cat cats doggy puppy dog dogs snoopy garfield bunny rabbit shark spider scorpion phoenix unicorn dinosaur
elephant penguin turtle chicken piglet hamster maus hase baer loewe adler fuchs hund katze pferd schmetterling
football fussball futbol baseball basketball hockey soccer tennis golf golfer volleyball softball rugby cricket boxing
wrestling karate swimming running runner cycling surfing skater skateboard snowboard fishing hunting camping racing
yankees cowboys steelers packers eagles redsox lakers bulls celtics raiders broncos patriots giants rangers chelsea
arsenal liverpool manchester manutd manchesterunited tottenham everton barcelona realmadrid madrid juventus milan inter
bayern bayernmunich dortmund schalke werder hamburg benfica ajax galatasaray fenerbahce besiktas ronaldo messi beckham
superman batman spiderman ironman wolverine hulk avengers marvel starwars skywalker lukeskywalker darthvader yoda jedi
matrix terminator rambo rocky gandalf hobbit frodo aragorn harrypotter potter hogwarts hermione pokemon pikachu naruto
sasuke goku dragonball minecraft fortnite roblox counterstrike callofduty worldofwarcraft warcraft starcraft diablo
zelda mario supermario nintendo playstation xbox gamer gaming games player winner loser killer hunter warrior ninja
samurai pirate viking knight soldier marine army navy airforce police fireman doctor nurse teacher student school
college university freedom liberty peace justice america american canada england britain france germany deutschland
italia italy spain espana portugal brasil brazil mexico argentina colombia russia moscow poland polska turkey turkiye
istanbul ankara london paris berlin muenchen munich vienna wien zurich geneva amsterdam holland nederland brussels rome
roma milano napoli lisbon athens dublin prague praha budapest warsaw warszawa krakow newyork losangeles chicago boston
houston dallas denver phoenix seattle miami atlanta texas california florida arizona hawaii tokyo china india pakistan
january february march april june july august september october november december januar februar maerz juni juli
oktober dezember monday tuesday wednesday thursday friday saturday sunday montag dienstag mittwoch donnerstag freitag
samstag sonntag spring summer autumn winter fruehling sommer herbst christmas weihnachten halloween easter birthday
geburtstag holiday vacation weekend party music guitar piano drummer rockstar rock metal metallica nirvana slipknot
eminem beatles elvis queen pinkfloyd greenday blink linkinpark acdc ironmaiden madonna rihanna beyonce shakira
michael michelle jennifer jessica jordan jordan23 daniel danielle andrew andrea anthony ashley amanda matthew joshua
thomas charlie charles robert richard william george joseph david james john johnny jonathan justin jason kevin brian
brandon nicholas nicole nathan patrick patricia peter philip samuel samantha sandra sarah stephanie steven taylor
tiffany vanessa veronica victoria victor vincent zachary alexander alexandra alexandre alejandro antonio barbara
benjamin caroline carolina catherine christian christina christopher claudia cristina diego dominic eduardo elizabeth
emily emma eric fernando francesco francisco gabriel gabriela giovanni giuseppe hannah heather isabella jackson jacob
javier julia juliana karina katherine laura lauren leonardo lorenzo louise lucas luis madison maggie marcel marco
marcos maria mariana marie mario martin martina mercedes miguel monica morgan natalie natasha oliver olivia oscar
pamela pablo paulina rachel rafael rebecca ricardo roberto rodrigo sabrina salvador santiago sebastian sergio simone
sophia sophie stefan susanne sylvia tatiana teresa valentin valentina yvonne andreas matthias florian tobias juergen
wolfgang guenther manfred heinrich helmut klaus dieter horst bernd frank ralf uwe sabine monika petra ursula ingrid
mustafa mehmet ahmet mohamed mohammed muhammad ahmed fatima ibrahim
ferrari porsche lamborghini mercedesbenz bmw audi mustang camaro corvette harley harleydavidson yamaha honda toyota
nissan subaru volkswagen chevrolet ford samsung apple iphone android google facebook youtube twitter instagram
whatsapp microsoft windows linux ubuntu amazon netflix spotify yahoo hotmail gmail outlook linkedin myspace adobe
photoshop oracle cisco dell lenovo intel nokia motorola blackberry sony
banana orange apple strawberry cherry peaches pineapple watermelon lemon coconut pepper ginger cinnamon vanilla coffee
pizza burger cheese butter pancake noodles pasta pizzahut mcdonalds cocacola pepsi whiskey vodka tequila heineken
budweiser corona purple yellow orange silver golden gold diamond crystal platinum black white green blue red pink
shadow mystery magic magician wizard witch ghost vampire zombie demon devil lucifer satan hell fire thunder lightning
storm hurricane tornado snow snowball icecream ocean island beach mountain forest river sunset sunrise money dollar
millionaire rich lucky luckyone lottery casino poker jackpot fortune success victory champion number one onetwothree
fuckyou fuckme fuckoff asshole bitch pussycat sexy bismillah inshallah alhamdulillah woaini iloveyou2 mynoob dearbook
waybill delivery deliverer courier partner customer order orders
`;

export const commonWords: ReadonlySet<string> = new Set(WORDS.trim().split(/\s+/));
