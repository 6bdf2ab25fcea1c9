import type { OrderStatus } from "../../../contracts/order-status.ts";

/** The pages of accounts. */
export type PageName = "confirm" | "forgot" | "reset" | "accept" | "undo";
export type FieldName =
  | "token"
  | "language"
  | "email"
  | "code"
  | "first_name"
  | "last_name"
  | "password"
  | "new_password";

export interface PageTexts {
  pages: Record<PageName, Record<"title" | "about" | "button" | "done", string>>;
  labels: Record<Exclude<FieldName, "token" | "language">, string>;
  unreachable: string;
  tracking: { title: string; states: Record<OrderStatus, string>; gone: string; unreachable: string };
}

/** The texts of the pages that mails link to, in the languages of the mails. */
export const pageTexts: Readonly<Record<string, PageTexts>> = {
  en: {
    pages: {
      confirm: {
        title: "Confirm your e-mail address",
        about: "With the code from the mail you confirm that this address is yours.",
        button: "Confirm",
        done: "Done. You can sign in now.",
      },
      forgot: {
        title: "Request a code for a new password",
        about: "A mail with a code goes to the e-mail address of your account.",
        button: "Send the code",
        done: "Done. If the address has an account, a mail with a code is on its way.",
      },
      reset: {
        title: "Set a new password",
        about: "With the code from the mail you set a new password. All sessions of your account end.",
        button: "Set the password",
        done: "Done. You can sign in with the new password.",
      },
      accept: {
        title: "Accept the invitation",
        about:
          "Enter your name and choose a password. If you have an account with this e-mail address, enter its password.",
        button: "Accept",
        done: "Done. You can sign in now.",
      },
      undo: {
        title: "Undo the change of the e-mail address",
        about:
          "Your account gets this e-mail address back, and all its sessions end. Choose a new password: the old one was known.",
        button: "Undo the change",
        done: "Done. You can sign in with this address again.",
      },
    },
    labels: {
      email: "E-mail address",
      code: "Code",
      first_name: "First name",
      last_name: "Last name",
      password: "Password",
      new_password: "New password",
    },
    unreachable: "The server cannot be reached. Try again.",
    tracking: {
      title: "Your order",
      states: {
        pending: "It waits for the payment.",
        paid: "It is paid. The partner accepts or declines it now.",
        preparing: "The partner is preparing it.",
        ready: "It is ready and waits for a courier.",
        delivering: "A courier is bringing it.",
        delivered: "It was delivered.",
        failed: "It could not be delivered. It is being decided what happens next.",
        cancelled: "It was cancelled.",
        expired: "It was not paid in time.",
      },
      gone: "This order is not shown any more.",
      unreachable: "The server cannot be reached. The page tries again.",
    },
  },
  de: {
    pages: {
      confirm: {
        title: "E-Mail-Adresse bestätigen",
        about: "Mit dem Code aus der E-Mail bestätigen Sie, dass diese Adresse Ihnen gehört.",
        button: "Bestätigen",
        done: "Fertig. Sie können sich jetzt anmelden.",
      },
      forgot: {
        title: "Code für ein neues Passwort anfordern",
        about: "An die E-Mail-Adresse Ihres Kontos geht eine E-Mail mit einem Code.",
        button: "Code senden",
        done: "Fertig. Wenn es zu der Adresse ein Konto gibt, ist eine E-Mail mit einem Code unterwegs.",
      },
      reset: {
        title: "Neues Passwort setzen",
        about:
          "Mit dem Code aus der E-Mail setzen Sie ein neues Passwort. Alle Sitzungen Ihres Kontos werden beendet.",
        button: "Passwort setzen",
        done: "Fertig. Sie können sich mit dem neuen Passwort anmelden.",
      },
      accept: {
        title: "Einladung annehmen",
        about:
          "Geben Sie Ihren Namen ein und wählen Sie ein Passwort. Wenn Sie zu dieser E-Mail-Adresse ein Konto haben, geben Sie dessen Passwort ein.",
        button: "Annehmen",
        done: "Fertig. Sie können sich jetzt anmelden.",
      },
      undo: {
        title: "Änderung der E-Mail-Adresse rückgängig machen",
        about:
          "Ihr Konto erhält diese E-Mail-Adresse zurück, und alle Sitzungen werden beendet. Wählen Sie ein neues Passwort: Das alte war bekannt.",
        button: "Änderung rückgängig machen",
        done: "Fertig. Sie können sich wieder mit dieser Adresse anmelden.",
      },
    },
    labels: {
      email: "E-Mail-Adresse",
      code: "Code",
      first_name: "Vorname",
      last_name: "Nachname",
      password: "Passwort",
      new_password: "Neues Passwort",
    },
    unreachable: "Der Server ist nicht erreichbar. Versuchen Sie es noch einmal.",
    tracking: {
      title: "Ihre Bestellung",
      states: {
        pending: "Sie wartet auf die Zahlung.",
        paid: "Sie ist bezahlt. Der Partner nimmt sie jetzt an oder lehnt sie ab.",
        preparing: "Der Partner bereitet sie zu.",
        ready: "Sie ist fertig und wartet auf einen Kurier.",
        delivering: "Ein Kurier bringt sie.",
        delivered: "Sie wurde zugestellt.",
        failed: "Sie konnte nicht zugestellt werden. Es wird entschieden, wie es weitergeht.",
        cancelled: "Sie wurde storniert.",
        expired: "Sie wurde nicht rechtzeitig bezahlt.",
      },
      gone: "Diese Bestellung wird nicht mehr gezeigt.",
      unreachable: "Der Server ist nicht erreichbar. Die Seite versucht es noch einmal.",
    },
  },
  ru: {
    pages: {
      confirm: {
        title: "Подтверждение адреса электронной почты",
        about: "Кодом из письма вы подтверждаете, что этот адрес ваш.",
        button: "Подтвердить",
        done: "Готово. Теперь вы можете войти.",
      },
      forgot: {
        title: "Запросить код для нового пароля",
        about: "На адрес вашей учётной записи придёт письмо с кодом.",
        button: "Отправить код",
        done: "Готово. Если для этого адреса есть учётная запись, письмо с кодом уже в пути.",
      },
      reset: {
        title: "Новый пароль",
        about: "С кодом из письма вы задаёте новый пароль. Все сеансы вашей учётной записи завершатся.",
        button: "Задать пароль",
        done: "Готово. Вы можете войти с новым паролем.",
      },
      accept: {
        title: "Принять приглашение",
        about:
          "Введите своё имя и придумайте пароль. Если у вас уже есть учётная запись с этим адресом, введите её пароль.",
        button: "Принять",
        done: "Готово. Теперь вы можете войти.",
      },
      undo: {
        title: "Отменить изменение адреса электронной почты",
        about:
          "Учётной записи вернётся этот адрес, все её сеансы завершатся. Придумайте новый пароль: старый был известен.",
        button: "Отменить изменение",
        done: "Готово. Вы снова можете войти с этим адресом.",
      },
    },
    labels: {
      email: "Адрес электронной почты",
      code: "Код",
      first_name: "Имя",
      last_name: "Фамилия",
      password: "Пароль",
      new_password: "Новый пароль",
    },
    unreachable: "Сервер недоступен. Попробуйте ещё раз.",
    tracking: {
      title: "Ваш заказ",
      states: {
        pending: "Он ждёт оплаты.",
        paid: "Он оплачен. Партнёр сейчас принимает или отклоняет его.",
        preparing: "Партнёр готовит его.",
        ready: "Он готов и ждёт курьера.",
        delivering: "Курьер везёт его.",
        delivered: "Он доставлен.",
        failed: "Его не удалось доставить. Решается, что будет дальше.",
        cancelled: "Он отменён.",
        expired: "Он не был оплачен вовремя.",
      },
      gone: "Этот заказ больше не показывается.",
      unreachable: "Сервер недоступен. Страница попробует ещё раз.",
    },
  },
  tg: {
    pages: {
      confirm: {
        title: "Тасдиқи нишонии почтаи электронӣ",
        about: "Бо рамзи аз нома гирифта тасдиқ мекунед, ки ин нишонӣ аз они шумост.",
        button: "Тасдиқ кардан",
        done: "Тайёр. Акнун шумо ворид шуда метавонед.",
      },
      forgot: {
        title: "Дархости рамз барои пароли нав",
        about: "Ба нишонии почтаи электронии ҳисоби шумо нома бо рамз меояд.",
        button: "Фиристодани рамз",
        done: "Тайёр. Агар барои ин нишонӣ ҳисоб бошад, нома бо рамз дар роҳ аст.",
      },
      reset: {
        title: "Пароли нав",
        about: "Бо рамзи аз нома гирифта пароли нав мегузоред. Ҳамаи сеансҳои ҳисоби шумо қатъ мешаванд.",
        button: "Гузоштани парол",
        done: "Тайёр. Шумо бо пароли нав ворид шуда метавонед.",
      },
      accept: {
        title: "Қабули даъват",
        about:
          "Номатонро нависед ва парол интихоб кунед. Агар бо ин нишонӣ аллакай ҳисоб дошта бошед, пароли онро ворид кунед.",
        button: "Қабул кардан",
        done: "Тайёр. Акнун шумо ворид шуда метавонед.",
      },
      undo: {
        title: "Бекор кардани тағйири нишонии почтаи электронӣ",
        about:
          "Ба ҳисоби шумо ҳамин нишонӣ бармегардад ва ҳамаи сеансҳояш қатъ мешаванд. Пароли нав интихоб кунед: пароли кӯҳна маълум буд.",
        button: "Бекор кардани тағйир",
        done: "Тайёр. Шумо боз бо ин нишонӣ ворид шуда метавонед.",
      },
    },
    labels: {
      email: "Нишонии почтаи электронӣ",
      code: "Рамз",
      first_name: "Ном",
      last_name: "Насаб",
      password: "Парол",
      new_password: "Пароли нав",
    },
    unreachable: "Сервер дастнорас аст. Бори дигар кӯшиш кунед.",
    tracking: {
      title: "Фармоиши шумо",
      states: {
        pending: "Он пардохтро интизор аст.",
        paid: "Он пардохт шуд. Шарик ҳоло онро қабул ё рад мекунад.",
        preparing: "Шарик онро тайёр мекунад.",
        ready: "Он тайёр аст ва курйерро интизор аст.",
        delivering: "Курйер онро меорад.",
        delivered: "Он расонида шуд.",
        failed: "Онро расонида натавонистанд. Ҳал мешавад, ки минбаъд чӣ мешавад.",
        cancelled: "Он бекор шуд.",
        expired: "Он сари вақт пардохт нашуд.",
      },
      gone: "Ин фармоиш дигар нишон дода намешавад.",
      unreachable: "Сервер дастнорас аст. Саҳифа бори дигар кӯшиш мекунад.",
    },
  },
};

export const pageLanguages: readonly string[] = Object.keys(pageTexts);
