// Articles, pronouns, prepositions, conjunctions, auxiliaries: the words that no text of a language does without. A word may stand in
// several lists; it then counts for less.
//
// Tested by tests/policy/language_test.cpp.
#include "policy/language_words.h"

#include <array>

namespace tollgate::policy {
namespace {

constexpr std::array kAll = {
    LanguageWords{"ar",
                  "في من على إلى عن مع هذا هذه ذلك التي الذي أن إن لا ما لم لن كان كانت قد ثم أو كل بعد قبل حتى إذا هل هو هي نحن أنا "
                  "كيف يمكن عند بين كما لكن ليس يجب غير",
                  "ةىأإؤئءآ"},
    LanguageWords{"bg",
                  "и да се на не за от че по в са ще със си ни ли как това този тази тези които който когато където защо какво ако но "
                  "или като само още вече бъде беше няма има може трябва моля аз ти той тя ние вие те ги му ѝ към при без след преди "
                  "през между много до бъдат",
                  "ъщ"},
    LanguageWords{"cs",
                  "a v na se že je to s z do o k i ve ze by si jsem jste jsme jsou byl byla bylo být bude není ale nebo jako jak když "
                  "aby který která které kde proč co tak také už jen pro při po od za před mezi jeho její jejich můj naše vaše prosím "
                  "může musí mám máme protože než budou",
                  "ěščřžýáíéůúňťď"},
    LanguageWords{"da",
                  "og i at det er en et den til på som med for af de ikke jeg du han hun vi der har havde var være kan vil skal skulle "
                  "ville blive bliver om så men eller hvis når hvor hvad hvem hvordan hvorfor fra også efter mellem mig dig sig os jer "
                  "dem min din vores deres noget nogen meget nu op ud ind fordi mere uden inden sidste alle",
                  "æøå"},
    LanguageWords{"de",
                  "der die das den dem des und ist in zu mit sich auf für von nicht ein eine einen einem einer eines als auch es an "
                  "werden wird wurde aus er sie hat haben dass wie ich wir ihr mir mich uns bei nach über so oder aber wenn kann können "
                  "soll muss noch nur im am zum zur vom man sein sind war bitte warum was wer wo hier diese dieser dieses mein dein "
                  "unser kein keine durch vor bis",
                  "äöüß"},
    LanguageWords{"en",
                  "the of and to in is that it for was on with as are be this by at from have has had not but or you your we our they "
                  "their he she his her its i my me what which who when where how why can could would should will do does did there "
                  "been were if then than so about into please any all some them these those an a no up out more because",
                  ""},
    LanguageWords{"es",
                  "de la que el en y a los se del las un por con no una su para es al lo como más pero sus le ya o este sí porque esta "
                  "entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante todos uno les ni contra otros ese "
                  "eso ante ellos esto mí antes algunos qué unos yo otro está son fue ser han tiene cómo puede usted favor están será "
                  "solo hacer",
                  "ñáéíóú¿¡"},
    LanguageWords{"fa",
                  "و در به از که این را با است برای آن یک خود تا کرد بر هم نیز شد می ها های یا اما اگر چه چرا کجا چگونه من تو او ما شما "
                  "آنها باید بود شده کند دارد نیست هر همه پس لطفا",
                  "پچژگکی"},
    LanguageWords{"fi",
                  "ja on ei se että en oli hän mutta ovat kun niin myös kuin mitä joka jos tai vain sen olen olet olemme ole olla voi "
                  "voit voin minä sinä me te he minun sinun meidän mikä missä miksi miten tämä tämän tuo nyt vielä jo ennen kanssa "
                  "jälkeen ilman koska sekä jotka siitä sitä tässä siellä pitää kaikki ollut eivät hyvin kiitos",
                  "äö"},
    LanguageWords{"fr",
                  "de la le et les des en un une du que est pour qui dans par au plus pas sur se ce il sont avec ne ou son aux cette "
                  "ont mais comme nous vous je tu elle ils elles leur leurs mon ma mes notre votre vos être avoir fait été peut sans si "
                  "tout tous bien aussi où quand pourquoi comment quel quelle entre après avant chez c'est n'est j'ai d'un d'une l'on y "
                  "sera faire",
                  "éèêëàâçîïôûùœ"},
    LanguageWords{"hu",
                  "a az és hogy nem egy is ez azt meg csak de van volt ha már mint kell még el vagy ki nagyon mert be mi én te ő mit "
                  "hol miért hogyan lesz lehet volna nincs minden aki ami amely után előtt között alatt szerint ezt ennek annak kérem "
                  "tud tudom most itt ott sem pedig illetve",
                  "őűáéíóúöü"},
    LanguageWords{"id",
                  "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena tersebut bisa ada mereka lebih kata "
                  "tahun sudah atau saat oleh menjadi orang apa kita kami anda dia bagaimana mengapa kapan mana jika bila sebagai "
                  "adalah telah dapat harus tetapi namun seperti sangat tolong belum hanya secara antara setelah sebelum",
                  ""},
    LanguageWords{"it",
                  "di che e la il un a per in una mi sono ho non ma lo ha le si ti i con cosa se io come da ci no questo qui hai sei "
                  "del bene tu sì me più al mio della dei delle gli nel nella alla è anche perché quando dove chi cui era essere stato "
                  "hanno suo sua loro noi voi questa quello quella quali molto dopo prima senza tra fra può c'è dell'anno degli sul "
                  "tutti tutto sarà solo ancora",
                  "èàòùìé"},
    LanguageWords{"nl",
                  "de en van ik te dat die in een hij het niet zijn is was op aan met als voor had er maar om hem dan zou of wat mijn "
                  "men dit zo door over ze zich bij ook tot je mij uit der daar haar naar heb hoe heeft hebben deze u want nog zal me "
                  "zij nu ge geen omdat iets worden toch al waren veel meer doen moet kan kunnen wij jullie waarom waar wie wordt onze",
                  ""},
    LanguageWords{"no",
                  "og i det er som en på til av for at med de ikke den har jeg du han hun vi om et men var seg fra vil kan skal så "
                  "eller hva hvem hvor hvordan hvorfor når også etter mellom meg deg oss dere dem min din vår deres noe noen mye nå opp "
                  "ut inn hvis bare ble blir være vært hadde skulle ville enn fordi mer uten alle",
                  "æøå"},
    LanguageWords{"pl",
                  "i w na z do się nie że to jest o jak za od po co ale czy tak dla przez przy oraz tym tego być był była było są jego "
                  "jej ich ten ta te który która które już tylko może jeszcze bardzo kiedy gdzie dlaczego kto mnie mi nas was ja ty my "
                  "wy oni proszę jeśli lub więc bez przed między ma mam mamy można trzeba nasz",
                  "ąćęłńóśźż"},
    LanguageWords{"pt",
                  "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu sua ou ser "
                  "quando muito há nos já está eu também só pelo pela até isso ela entre era depois sem mesmo aos ter seus quem nas me "
                  "esse eles estão você essa num nem suas meu às minha têm onde porque quê são pode isto favor nós será todos todas "
                  "seja fazer",
                  "ãõçáâêéíóôú"},
    LanguageWords{"ro",
                  "și de în a la cu nu pe o că este un din pentru să mai se care sunt ce au dar sau după fost fi am ai are eu tu el ea "
                  "noi voi ei le lui lor ale al această acest aceasta acum unde când cum cine cât poate trebuie doar foarte până între "
                  "prin fără dacă vă rog îmi mă te ne nici toate toți despre",
                  "ăâîșțşţ"},
    LanguageWords{"ru",
                  "и в не на я что тот быть с а весь это как она по но они к у ты из мы за вы так же от сказать этот который мочь для о "
                  "еще бы такой только себя свое какой когда уже его ее их был была было были есть нет да или если чтобы где почему кто "
                  "чем при без до после перед между очень можно нужно мне нас вас вам пожалуйста здесь там все",
                  "ыэёйь"},
    LanguageWords{"sv",
                  "och i att det som en på är av för med den till inte har de ett om han hon jag du vi var men sig från så kan när man "
                  "skulle ska eller vad vem hur varför också efter mellan mig dig oss er dem min din vår deras något någon mycket nu "
                  "upp ut in bara blir blev vara varit hade ville än där här finns utan mer alla",
                  "åäö"},
    LanguageWords{"tr",
                  "ve bir bu da de için ile çok olarak daha gibi en kadar sonra ne o ben sen biz siz onlar mi mı mu mü değil var yok "
                  "ama ya veya her şey olan oldu olduğu olduğunu nasıl neden nerede kim hangi bana sana bunu bunun onun benim senin "
                  "bizim lütfen önce şimdi çünkü eğer ise diye göre arasında tarafından olacak herkes olur",
                  "ğışçöü"},
    LanguageWords{"uk",
                  "і в не на я що з та це як до у за він вона вони ми ви ти а але по від про для є його її їх був була було були або "
                  "якщо щоб де чому хто коли вже ще тільки дуже можна треба мені нас вас вам будь ласка тут там усі який яка яке які "
                  "при без після перед між так також цей ця ці й",
                  "іїєґь"},
};

}  // namespace

std::span<const LanguageWords> AllLanguageWords() { return kAll; }

}  // namespace tollgate::policy
