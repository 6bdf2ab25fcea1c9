import type { Language } from "./catalogue.ts";

const number = "[[ Заказ {{number}}.]]";
const reason = "[[ Причина: {{reason}}]]";
const readyIn =
  "[[ Он будет готов примерно через {{ready_in_minutes}} {{ready_in_minutes: one минуту | few минуты | many минут}}.]]";
const acceptWithin = "{{accept_in_minutes}} {{accept_in_minutes: one минуты | few минут | many минут}}";
const cancelledIn = "{{accept_in_minutes}} {{accept_in_minutes: one минуту | few минуты | many минут}}";
const refund = "[[ Мы вернём вам {{refund}}.]]";
const refundNext =
  "[[Возврат {{refund}} придёт тем же способом, которым вы платили. Банк может показать это через несколько дней.]]";
const validFor = "[[Он действует {{minutes}} {{minutes: one минуту | few минуты | many минут}}.]]";
const ignoreHint = "Если это были не вы, ничего делать не нужно.";

export const ru: Language = {
  texts: {
    "order.paid:customer": {
      title: "Оплата получена",
      body: `Мы получили {{total}} за ваш заказ у партнёра {{partner}}. Партнёр уже знает о нём.${number}`,
      next: "Сейчас {{partner}} принимает или отклоняет заказ. Пока он не принят, вы можете его отменить. Если его не примут вовремя, мы вернём вам деньги.",
    },
    "order.paid:partner": {
      title: "Новый заказ",
      body: `{{partner}}: новый заказ на {{total}}. Примите или отклоните его в течение ${acceptWithin}.${number}`,
      next: "Заказ, который не приняли вовремя, отменяется, и клиенту возвращаются деньги.",
    },
    "order.unanswered:partner": {
      title: "Заказ всё ещё ждёт",
      body: `{{partner}}: никто ещё не принял заказ на {{total}}. Примерно через ${cancelledIn} он будет отменён.${number}`,
    },
    "order.accepted:customer": {
      title: "{{partner}} готовит ваш заказ",
      body: `Ваш заказ принят.${readyIn}${number}`,
      next: "Когда он будет готов, курьер заберёт его и привезёт вам.",
    },
    "order.rejected:customer": {
      title: "Ваш заказ отклонён",
      body: `{{partner}} не может его приготовить.${reason}${refund}${number}`,
      next: refundNext,
    },
    "order.ready:customer": {
      title: "Ваш заказ готов",
      body: `Он упакован у партнёра {{partner}}. Курьер скоро его заберёт.${number}`,
      next: "У двери курьер попросит вас назвать PIN-код.",
    },
    "order.ready:deliverer": {
      title: "Рядом с вами готов заказ",
      body: `Забрать: {{partner}}, {{pickup}}. Доставить: {{destination}}. Заказ получит тот, кто первым его возьмёт.${number}`,
    },
    "courier.near:partner": {
      title: "Курьер рядом",
      body: `{{deliverer|Курьер}} сейчас будет у партнёра {{partner}}.${number}`,
    },
    "courier.near:customer": {
      title: "Ваш курьер рядом",
      body: `{{deliverer|Курьер}} сейчас привезёт ваш заказ от партнёра {{partner}}. Приготовьте PIN-код.${number}`,
    },
    "order.delayed:customer": {
      title: "Ваш заказ задерживается",
      body: `{{partner}} просит больше времени.${readyIn}${reason}${number}`,
    },
    "order.delayed:deliverer": {
      title: "Ваш заказ для доставки задерживается",
      body: `{{partner}} просит больше времени.${readyIn}${number}`,
    },
    "order.assigned:customer": {
      title: "Ваш заказ в пути",
      body: `{{deliverer|Курьер}} везёт ваш заказ от партнёра {{partner}}. Назовите PIN-код только у двери.${number}`,
      next: "Без PIN-кода курьер не сможет отдать заказ.",
    },
    "order.offered:deliverer": {
      title: "Заказ для вас",
      body: `Забрать: {{partner}}, {{pickup}}. Доставить: {{destination}}. Возьмите его сейчас или откажитесь.${number}`,
    },
    "order.assigned:deliverer": {
      title: "Доставка за вами",
      body: `Забрать: {{partner}}, {{pickup}}. Доставить: {{destination}}.${number}`,
    },
    "order.assigned:partner": {
      title: "Курьер едет",
      body: `{{deliverer|Курьер}} заберёт заказ у партнёра {{partner}}.${number}`,
    },
    "order.released:deliverer": {
      title: "Доставка больше не за вами",
      body: `Заказ от партнёра {{partner}} у вас забрали.${reason}${number}`,
    },
    "order.released:customer": {
      title: "Мы ищем другого курьера",
      body: `Ваш заказ от партнёра {{partner}} готов и ждёт следующего курьера.${number}`,
      next: "Делать ничего не нужно. Мы сообщим, когда он будет в пути.",
    },
    "order.delivered:customer": {
      title: "Доставлено",
      body: `Приятного аппетита, {{first_name}}! Ваш заказ от партнёра {{partner}} вам передан.${number}`,
    },
    "order.failed:customer": {
      title: "Ваш заказ не удалось доставить",
      body: `Заказ от партнёра {{partner}} до вас не дошёл.${reason}${number}`,
      next: "Сейчас решается, привезут ли заказ ещё раз или вам вернут деньги. Мы сообщим вам о решении.",
    },
    "order.cancelled:customer": {
      title: "Ваш заказ отменён",
      body: `Заказа от партнёра {{partner}} не будет.${reason}${refund}${number}`,
      next: refundNext,
    },
    "order.cancelled:deliverer": {
      title: "Доставка отменена",
      body: `Заказ от партнёра {{partner}} доставлять больше не нужно.${reason}${number}`,
    },
    "order.cancelled:partner": {
      title: "Заказ отменён",
      body: `{{partner}}: готовить его больше не нужно.${reason}${number}`,
    },
    "order.expired:customer": {
      title: "Срок вашего заказа истёк",
      body: `Заказ у партнёра {{partner}} не был оплачен вовремя. Вы можете в любой момент заказать снова.${number}`,
    },
    "refund.completed:customer": {
      title: "Ваши деньги возвращаются",
      body: `Мы вернули вам {{amount}}. Банк может показать это через несколько дней.${number}`,
    },
    "alert.raised:admin": {
      title: "Тревога: {{kind}}",
      body: "{{detail}} Касается: {{subject}}.",
    },
    "confirm-email": {
      title: "Подтвердите адрес электронной почты",
      body: `Добро пожаловать в {{brand}}. Введите этот код, чтобы подтвердить адрес электронной почты:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "account-exists": {
      title: "У вас уже есть учётная запись",
      body: `Кто-то хотел зарегистрироваться с вашим адресом электронной почты, но для него уже есть учётная запись.\n\nВойдите с ней; если вы забыли пароль, там можно задать новый.\n\n${ignoreHint}`,
    },
    "reset-password": {
      title: "Задайте новый пароль",
      body: `Введите этот код, чтобы задать новый пароль:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "password-changed": {
      title: "Ваш пароль изменён",
      body: "Пароль вашей учётной записи только что изменён, все остальные сеансы завершены.\n\nЕсли это были не вы, сейчас же задайте новый пароль.",
    },
    "change-email": {
      title: "Подтвердите новый адрес электронной почты",
      body: `Введите этот код, чтобы с этого момента использовать этот адрес:\n\n{{code}}\n\n${validFor}\n\n${ignoreHint}`,
    },
    "email-changed": {
      title: "Ваш адрес электронной почты изменён",
      body: "У вашей учётной записи теперь другой адрес электронной почты. Этот адрес с ней больше не связан.\n\n[[Если это были не вы, откройте эту страницу в течение {{days}} {{days: one дня | few дней | many дней}}. Она вернёт учётной записи этот адрес, завершит все её сеансы и задаст новый пароль:]]\n\n[[{{link}}]]",
    },
    invitation: {
      title: "Приглашение в {{brand}}",
      body: "Вас пригласили работать с {{brand}}.[[ Ваша роль: {{role}}.]]\n\nОткройте страницу по ссылке ниже, введите своё имя и придумайте пароль. Если у вас уже есть учётная запись с этим адресом, введите её пароль: она получит эту роль.\n\nЕсли вас спросят токен приглашения, вот он:\n\n{{token}}\n\n[[Приглашение действует {{days}} {{days: one день | few дня | many дней}}.]]\n\nЕсли вы не знаете, о чём речь, ничего делать не нужно.",
    },
    "webhook-disabled": {
      title: "{{partner}} не принимает заказы",
      body: "Ваша система по адресу {{address}} ответила, что её больше нет (410). {{brand}} больше её не вызывает, и {{partner}} не принимает заказы.\n\nЗаказы, оплаченные раньше, ждут до своего срока: примите или отклоните их вручную.\n\nНастройте вебхук заново или отключите его, если хотите принимать заказы вручную. Тогда будет отправлено всё, что ждёт.",
    },
  },
  rejections: {
    out_of_stock: "Что-то закончилось",
    too_busy: "Сейчас слишком много заказов",
    closing: "Заведение закрывается",
    wish_not_possible: "Ваше пожелание невозможно выполнить",
  },
  roles: {
    deliverer: "курьер",
    partner: "сотрудник партнёра",
    support: "поддержка",
    finance: "финансы",
    admin: "администратор",
  },
  mail: {
    greeting: (firstName) => (firstName ? `Здравствуйте, ${firstName}!` : "Здравствуйте!"),
    footer: {
      notification: (brand) =>
        `Это письмо отправил сервис ${brand}. Какие сообщения приходят по почте, вы решаете в настройках уведомлений.`,
      direct: (brand) => `${brand} отправил это письмо, потому что там указали ваш адрес.`,
    },
    links: {
      order: "Посмотреть заказ",
      work: "Открыть заказ",
      confirmEmail: "Подтвердить адрес",
      signIn: "Войти",
      newPassword: "Задать новый пароль",
      undo: "Отменить изменение",
      acceptInvitation: "Принять приглашение",
      webhook: "Открыть настройки",
      alert: "Посмотреть тревогу",
      preferences: "Настройки уведомлений",
    },
    order: (number) => (number ? `Заказ ${number}` : "Заказ"),
    fee: "Доставка",
    total: "Итого",
    moreProducts: {
      one: "другой товар",
      few: "других товара",
      many: "других товаров",
      other: "других товара",
    },
    pin: "Ваш PIN-код",
  },
  byMailOnly: "Отправлено только по электронной почте.",
};
